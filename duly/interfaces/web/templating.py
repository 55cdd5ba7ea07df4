"""Turns templates and values into pages."""

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eth_utils.address import to_checksum_address
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from duly.interfaces.web.language import Language, Writer, translations
from duly.interfaces.web.words import EVENTS, ROLES, outcome, word
from duly.services.render import Place

if TYPE_CHECKING:
    from duly.interfaces.web.visit import Visit

CSRF_FIELD: Final = "csrf"
STATIC: Final = Path(__file__).with_name("static")


class Pages:
    """The templates, in every language."""

    def __init__(self, place: Place) -> None:
        self._writers = {language: Writer(language, place) for language in Language}
        self._environments = {
            language: _environment(language, writer) for language, writer in self._writers.items()
        }

    def writer(self, language: Language) -> Writer:
        """Writes in a language."""
        return self._writers[language]

    def render(self, template: str, visit: "Visit", values: Mapping[str, Any]) -> str:
        """A page for a visit."""
        found = self._environments[visit.language].get_template(template)
        return found.render(visit=visit, **values)


def _environment(language: Language, write: Writer) -> Environment:
    from duly.interfaces.web.plots import balance_plot, buckets_plot

    made = Environment(
        loader=PackageLoader("duly.interfaces.web"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    made.filters |= {
        "money": lambda units: write.money(units),
        "amount": write.number,
        "plain": write.plain,
        "day": write.day,
        "long_day": lambda number: write.long_day(number),
        "moment": write.moment,
        "clock": lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}",
        "count": write.count,
        "percent": write.percent,
        "share": lambda ppm: f"{ppm / 10_000:.1f} %",
        "listed": write.listed,
        "word": lambda value: write.text(word(value)),
        "role": lambda name: write.text(ROLES[name]),
        "outcome": lambda reason: write.text(outcome(reason)),
        "event": lambda name: write.text(EVENTS[name]),
        "address": to_checksum_address,
        "short": short_address,
        "hex": lambda value: "0x" + value.hex(),
        "json": lambda value: json.dumps(value, separators=(",", ":")),
        "plot": lambda curves: balance_plot(curves, write),
        "buckets_plot": lambda months: buckets_plot(months, write),
    }
    made.globals |= {
        "csrf_field": csrf_field,
        "languages": list(Language),
        "symbol": write.place.symbol,
        "static": static_url,
    }
    return made


def csrf_field(visit: "Visit") -> Markup:
    """What every form has in it."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, visit.csrf)


def short_address(address: str) -> str:
    """Enough of an address to know it again."""
    whole = to_checksum_address(address)
    return f"{whole[:6]}…{whole[-4:]}"


@cache
def static_url(name: str) -> str:
    """Where a file of `static` is, under a name that changes with it."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"
