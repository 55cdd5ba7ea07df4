"""QR codes, drawn here as SVG, for what leads another device to a page."""

from typing import Final

from markupsafe import Markup, escape
from reportlab.graphics.barcode.qrencoder import QRCode, QRErrorCorrectLevel

QUIET: Final = 4
"""Modules of nothing that a reader needs all around. Source: ISO/IEC 18004, 9.1."""


def qr(text: str, label: str) -> Markup:
    """A code that says something, with words for who does not see it."""
    code = QRCode(None, QRErrorCorrectLevel.M)
    code.addData(text)
    code.make()
    count = code.getModuleCount()  # type: ignore[no-untyped-call]
    dark = "".join(
        f"M{column + QUIET} {row + QUIET}h1v1h-1z"
        for row in range(count)
        for column in range(count)
        if code.isDark(row, column)  # type: ignore[no-untyped-call]
    )
    size = count + 2 * QUIET
    return Markup(
        f'<svg class="qr" viewBox="0 0 {size} {size}" role="img" aria-label="{escape(label)}">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><path d="{dark}" fill="#000"/></svg>'
    )
