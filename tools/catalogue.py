"""Bring the portal's catalogue up to date with its pages: `make catalogue`.

What is to be translated is found in the templates, in `N_(…)` and `write.text(…)` of the pages, and in what
contracts' refusals mean. New messages come into `zh_Hans.po` without a translation, which a test refuses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "duly/interfaces/web"
CATALOGUE = WEB / "locale/zh_Hans.po"
HEADER = "# What the portal's pages say, in Simplified Chinese. `make catalogue` brings it up to date."

# Dates and versions would change it each time.
DULL = tuple(
    f'"{name}' for name in ("POT-", "PO-", "Generated", "Report", "Last-Tran", "Language-Team", "Project-Id")
)

_METHODS = [("templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
_OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false", "newstyle_gettext": "true"}}
_KEYWORDS = {"N_": None, "_": None, "gettext": None, "ngettext": (1, 2), "text": None}


def extracted() -> Catalog:
    """Everything that is to be translated, as the pages are now."""
    from duly.chain.errors import MEANINGS

    found = Catalog(locale="zh_Hans", charset="utf-8", fuzzy=False)
    for path, _, message, _, _ in extract_from_dir(
        WEB, _METHODS, options_map=_OPTIONS, keywords=_KEYWORDS, strip_comment_tags=True
    ):
        found.add(message, locations=[(path, 0)])
    for meaning in MEANINGS.values():
        found.add(meaning, locations=[("chain/errors.py", 0)])
    return found


def kept() -> Catalog:
    """What there is."""
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh_Hans")


def missing(catalogue: Catalog) -> Iterator[str]:
    """Messages without a translation."""
    for message in catalogue:
        strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
        if message.id and (message.fuzzy or not all(strings)):
            yield message.id if isinstance(message.id, str) else message.id[0]


def main() -> int:
    """Write the catalogue anew; what the pages no longer say is dropped."""
    catalogue = kept() if CATALOGUE.exists() else Catalog(locale="zh_Hans")
    catalogue.update(extracted(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    catalogue.header_comment = HEADER
    catalogue.fuzzy = False
    out = BytesIO()
    write_po(out, catalogue, width=110, sort_output=True, omit_header=False, no_location=True)
    lines = out.getvalue().decode().splitlines(keepends=True)
    CATALOGUE.write_text("".join(line for line in lines if not line.startswith(DULL)), encoding="utf-8")
    left = list(missing(catalogue))
    for each in left:
        print(f"not translated: {each}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
