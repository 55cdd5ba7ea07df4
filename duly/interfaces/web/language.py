"""The languages of the pages: words from a catalogue, amounts and dates as people write them.

English is the source text. `locale/zh_Hans.po` is read when the portal starts; `make catalogue` brings it up
to date with the pages.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations

from duly.domain.amounts import in_currency, in_percent
from duly.services.render import Place, day_in, money_in, zone_of

LOCALES: Final = Path(__file__).with_name("locale")
_EPOCH: Final = date(1970, 1, 1)
_QUARTER_HOURS: Final = 15
_PREFERENCE = re.compile(r"\s*([A-Za-z]{1,8})[A-Za-z0-9-]*\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


def N_(message: str) -> str:
    """Marks a message that is translated where it is shown."""
    return message


class Language(StrEnum):
    """A language of the pages, as notices are told it."""

    ENGLISH = "en"
    CHINESE = "zh"

    @property
    def tag(self) -> str:
        """For HTML."""
        return {"en": "en", "zh": "zh-Hans"}[self.value]

    @property
    def own_name(self) -> str:
        """What it is called in itself."""
        return {"en": "English", "zh": "中文"}[self.value]


def preferred(accepted: str) -> Language:
    """The language that a browser likes best, of an Accept-Language header."""
    best, found = 0.0, Language.ENGLISH
    for part in accepted[:200].split(","):
        match = _PREFERENCE.fullmatch(part)
        if match and match[1].lower() in list(Language):
            quality = float(match[2]) if match[2] else 1.0
            if quality > best:
                best, found = quality, Language(match[1].lower())
    return found


@cache
def translations(language: Language) -> NullTranslations:
    """What the words are in a language."""
    if language is Language.ENGLISH:
        return NullTranslations()
    compiled = BytesIO()
    with (LOCALES / "zh_Hans.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale="zh_Hans"))
    compiled.seek(0)
    return Translations(compiled)


class Writer:
    """Writes in a language: words, and amounts of the deployment's currency."""

    def __init__(self, language: Language, place: Place) -> None:
        self.language, self.place = language, place
        self._locale = Locale("en") if language is Language.ENGLISH else Locale("zh", script="Hans")
        self._translations = translations(language)

    def text(self, message: str, **values: object) -> str:
        """A message, with what it names."""
        # The empty message is the catalogue's own head.
        found = str(self._translations.gettext(message)) if message else ""
        return found % values if values else found

    @cached_property
    def money(self) -> Callable[[int], str]:
        """An amount in the smallest unit, with the currency."""
        return money_in(self.place, self.language)

    def number(self, amount: int) -> str:
        """The same without the currency."""
        return self.money(amount).removesuffix(f" {self.place.symbol}")

    def plain(self, amount: int) -> str:
        """The same as a form takes it, in any language."""
        return in_currency(amount, self.place.decimals).replace(",", "")

    @cached_property
    def long_day(self) -> Callable[[int], str]:
        """A day by its number, with its weekday."""
        return day_in(self.language)

    def day(self, number: int) -> str:
        """A day by its number."""
        pattern = "d MMM y" if self.language is Language.ENGLISH else "y年M月d日"
        return format_date(_EPOCH + timedelta(days=number), pattern, self._locale)

    def month(self, number: int) -> str:
        """The month of a day."""
        pattern = "MMM y" if self.language is Language.ENGLISH else "y年M月"
        return format_date(_EPOCH + timedelta(days=number), pattern, self._locale)

    def moment(self, seconds: int, offset: int = 0) -> str:
        """A moment by a clock so many quarter hours east of UTC."""
        zone = timezone(timedelta(minutes=_QUARTER_HOURS * offset)) if offset else UTC
        pattern = "d MMM y, HH:mm" if self.language is Language.ENGLISH else "y年M月d日 HH:mm"
        shown = format_datetime(datetime.fromtimestamp(seconds, zone), pattern, locale=self._locale)
        return f"{shown} {zone_of(offset)}"

    def count(self, number: int) -> str:
        """A number of things."""
        return format_decimal(number, locale=self._locale)

    def percent(self, ppm: int) -> str:
        """A rate in parts per million."""
        return in_percent(ppm)

    def listed(self, items: Sequence[str]) -> str:
        """Several things one after the other."""
        return (", " if self.language is Language.ENGLISH else "、").join(items)
