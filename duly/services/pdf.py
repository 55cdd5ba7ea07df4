"""Lays the HTML of a key-fact statement out on pages.

ReportLab, because it is pure Python (with Pillow, a wheel everywhere), breaks lines of Chinese by their own
rules, repeats a table's head on each page and writes the same bytes every time. WeasyPrint needs Pango
installed by hand; PlutoPrint, which would lay out the style sheet too, brings 145 MB and has wheels for few
machines; fpdf2 looks for spaces to break a line at, which Chinese has not.

The font is embedded, as far as a document uses it: Noto Sans SC, regular, the simplified Chinese and Latin
characters as `@fontsource/noto-sans-sc` 5.3.0 publishes them, unpacked from WOFF (SIL Open Font License).
Both scripts come from this one file; emphasis is by size and colour.

The input is what our own templates make: well-formed, and of few elements.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    LongTable,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from duly.domain.errors import InvalidInput

_FONT: Final = "NotoSansSC"
_XHTML: Final = "{http://www.w3.org/1999/xhtml}"
_MARGIN: Final = 18 * mm
_BOTTOM: Final = 20 * mm
_WIDTH: Final = A4[0] - 2 * _MARGIN
_INK, _SOFT, _LINE, _TINT, _MARK = map(HexColor, ("#1d2733", "#566373", "#d9dfe6", "#f3f6f9", "#1f5c7a"))


class MissingGlyphs(InvalidInput):
    """The PDF's font lacks a character."""


def render(html: bytes, foot: str) -> bytes:
    """The document as a PDF, with a line at the foot of each page beside its number.

    Raises: MissingGlyphs.
    """
    root = ElementTree.fromstring(html)
    language = root.get("lang", "en")
    body = root.find(f"{_XHTML}body")
    assert body is not None
    text = "".join(body.itertext()) + foot
    missing = sorted({c for c in text if c.isprintable() and ord(c) not in _glyphs()})
    if missing:
        raise MissingGlyphs(
            f"the PDF's font lacks {' '.join(missing)}",
            remedy="Write the HTML, which uses the reader's fonts.",
        )
    out = BytesIO()
    frame = Frame(
        _MARGIN,
        _BOTTOM,
        _WIDTH,
        A4[1] - _MARGIN - _BOTTOM,
        leftPadding=0,
        rightPadding=0,
        topPadding=0,
        bottomPadding=0,
    )
    BaseDocTemplate(
        out,
        pagesize=A4,
        pageTemplates=[PageTemplate(frames=[frame])],
        title=root.findtext(f"{_XHTML}head/{_XHTML}title"),
        lang=language,
        creator="Duly",
        invariant=True,
    ).build(list(_Layout(language).flow(body)), canvasmaker=_numbered(foot))
    return out.getvalue()


@cache
def _glyphs() -> dict[int, int]:
    """The font's glyphs by character. Registers it."""
    file = files("duly") / "templates/disclosure/font/NotoSansSC-Regular.ttf"
    font = TTFont(_FONT, BytesIO(file.read_bytes()))
    pdfmetrics.registerFont(font)
    glyphs: dict[int, int] = font.face.charToGlyph
    return glyphs


def _numbered(foot: str) -> Callable[..., Canvas]:
    """A canvas that knows how many pages there are when it writes the foot of each."""

    class Numbered(Canvas):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._pages.append(dict(self.__dict__))
            self._startPage()  # type: ignore[attr-defined]

        def save(self) -> None:
            for number, page in enumerate(self._pages, 1):
                self.__dict__.update(page)
                self.setFont(_FONT, 7)
                self.setFillColor(_SOFT)
                self.drawString(_MARGIN, 12 * mm, foot)
                self.drawRightString(A4[0] - _MARGIN, 12 * mm, f"{number} / {len(self._pages)}")
                super().showPage()
            super().save()

    return Numbered


class _Layout:
    """Turns elements into what ReportLab sets, in the order in which they stand."""

    def __init__(self, language: str) -> None:
        self._wrap = "CJK" if language.startswith("zh") else None
        self._title = self._style(17, _INK, after=3, next_too=True)
        self._heading = self._style(11.5, _MARK, before=13, after=4, next_too=True)
        self._text = self._style(9.2, _INK, after=4)
        self._label = self._style(9.2, _SOFT)
        self._value = self._style(9.2, _INK)
        self._small = self._style(8, _SOFT)
        self._note = self._style(8, _SOFT, after=4)
        self._item = self._style(9.2, _INK, after=3, indent=9)
        self._term = self._style(8, _SOFT)
        self._figure = self._style(12, _INK)

    def _style(
        self,
        size: float,
        colour: Color,
        *,
        before: float = 0,
        after: float = 0,
        indent: float = 0,
        next_too: bool = False,
    ) -> ParagraphStyle:
        return ParagraphStyle(
            f"{size} {colour} {before} {after} {indent}",
            fontName=_FONT,
            fontSize=size,
            leading=size * 1.45,
            textColor=colour,
            spaceBefore=before,
            spaceAfter=after,
            leftIndent=indent,
            bulletIndent=0,
            keepWithNext=next_too,
            wordWrap=self._wrap,
        )

    def flow(self, element: Element) -> Iterator[Flowable]:
        """What an element becomes."""
        match element.tag.removeprefix(_XHTML):
            case "h1":
                yield Paragraph(_markup(element), self._title)
            case "h2":
                yield Paragraph(_markup(element), self._heading)
            case "p":
                soft = element.get("class") in ("note", "lead")
                yield Paragraph(_markup(element), self._note if soft else self._text)
            case "ul":
                yield from (Paragraph(_markup(item), self._item, bulletText="•") for item in element)
            case "dl":
                yield self._figures(element)
            case "table" if element.get("class") == "schedule":
                yield self._schedule(element)
            case "table":
                yield self._facts(element)
                yield Spacer(0, 5)
            case _:
                for child in element:
                    yield from self.flow(child)

    def _figures(self, element: Element) -> Flowable:
        """The figures that matter most, side by side."""
        cells = [
            [
                Paragraph(_markup(part), self._term if part.tag == f"{_XHTML}dt" else self._figure)
                for part in pair
            ]
            for pair in element
        ]
        table = Table([cells], colWidths=[_WIDTH / len(cells)] * len(cells), spaceBefore=6)
        table.setStyle(
            TableStyle(
                [
                    ("BACKGROUND", (0, 0), (-1, -1), _TINT),
                    ("BOX", (0, 0), (-1, -1), 0.5, _LINE),
                    ("INNERGRID", (0, 0), (-1, -1), 0.5, _LINE),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("TOPPADDING", (0, 0), (-1, -1), 5),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
                ]
            )
        )
        return table

    def _facts(self, element: Element) -> Flowable:
        """A name and what it stands for in each row."""
        as_signed = "terms" in element.get("class", "").split()
        share, label, value = 0.45, self._label, self._value
        if as_signed:
            share, label, value = 0.2, self._small, self._small
        rows = [
            [
                Paragraph(_markup(row[0]), value if row.get("class") == "sum" else label),
                Paragraph(_markup(row[1]), value),
            ]
            for row in element
        ]
        table = Table(rows, colWidths=[share * _WIDTH, (1 - share) * _WIDTH])
        table.setStyle(
            TableStyle(
                [
                    ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LEFTPADDING", (0, 0), (0, -1), 0),
                    ("RIGHTPADDING", (1, 0), (1, -1), 0),
                    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
                ]
            )
        )
        return table

    def _schedule(self, element: Element) -> Flowable:
        """Figures in columns, as wide as the page, smaller where they are too long for it."""
        rows = [["".join(cell.itertext()) for cell in row] for part in element for row in part]
        size, padding = 8.2, 4.0
        widths = [
            max(pdfmetrics.stringWidth(text, _FONT, size) for text in column)
            for column in zip(*rows, strict=True)
        ]
        room = _WIDTH - 2 * padding * len(widths)
        if (needed := sum(widths)) > room:
            size *= room / needed
            widths = [width * room / needed for width in widths]
        spare = (room - min(room, needed)) / (len(widths) - 2)
        widths = [width + 2 * padding + spare * (column > 1) for column, width in enumerate(widths)]
        table = LongTable(rows, colWidths=widths, repeatRows=1)
        table.setStyle(
            TableStyle(
                [
                    ("FONT", (0, 0), (-1, -1), _FONT, size, size * 1.3),
                    ("TEXTCOLOR", (0, 0), (-1, -1), _INK),
                    ("TEXTCOLOR", (0, 0), (-1, 0), _SOFT),
                    ("ALIGN", (0, 0), (-1, -1), "RIGHT"),
                    ("ALIGN", (1, 0), (1, -1), "LEFT"),
                    ("LINEBELOW", (0, 0), (-1, -2), 0.3, _LINE),
                    ("LINEBELOW", (0, 0), (-1, 0), 0.8, _LINE),
                    ("LINEABOVE", (0, -1), (-1, -1), 0.8, _LINE),
                    ("TOPPADDING", (0, 0), (-1, -1), 1.6),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
                    ("LEFTPADDING", (0, 0), (-1, -1), padding),
                    ("RIGHTPADDING", (0, 0), (-1, -1), padding),
                ]
            )
        )
        return table


def _markup(element: Element) -> str:
    """An element's text, what is in bold set apart by its colour."""
    parts = [escape(element.text or "")]
    for child in element:
        inner = _markup(child)
        if child.tag == f"{_XHTML}b":
            inner = f'<font color="{_MARK.hexval()}">{inner}</font>'
        parts += [inner, escape(child.tail or "")]
    return "".join(parts)
