"""What every notice has to say, and what none may: rules about words, and the check of a text against them.

Pure: a text comes in as it was rendered, with the names of the values that it shows. The rules come from a
policy pack (`duly.domain.pack`); who renders and where is `duly.services.render`'s business.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints

LineId = Literal[
    "sender",
    "reference",
    "amount",
    "split",
    "due_date",
    "late_fee",
    "pay",
    "dispute",
    "help",
    "stop",
    "opt_out",
    "genuine",
]
"""The lines that a rule can ask for."""

EVERY = "EVERY"
"""In place of a kind: every kind, those to come included."""

PREVIEW = 120
"""So many characters of a text are seen on a lock screen, or in a list of mails."""

SHOWN_TO_ALL = frozenset({"reference"})
"""The values that may stand in the subject and in the preview: a number that only its holder can place."""


@dataclass(frozen=True, slots=True)
class Line:
    """How a required line is recognised: by the values that it shows, and by words.

    All `values` have to be shown that are not empty in the situation at hand; where all of them are empty
    there is nothing to say, and the line is not asked for. Of `words` one has to be there, of the language of
    the text.
    """

    values: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


LINES: Mapping[LineId, Line] = {
    "sender": Line(("lender",)),
    "reference": Line(("reference",)),
    "amount": Line(("amount",)),
    "split": Line(("principal_part", "interest_part", "fee_part")),
    "due_date": Line(("due_date",)),
    "late_fee": Line(("late_fee",)),
    "pay": Line(("ledger", "loan"), {"en": ("repay",), "zh": ("repay",)}),
    "dispute": Line(words={"en": ("dispute",), "zh": ("异议",)}),
    "help": Line(words={"en": ("need help", "difficult"), "zh": ("需要帮助", "困难")}),
    "stop": Line(("consents",), {"en": ("how to stop",), "zh": ("如何停止",)}),
    "opt_out": Line(words={"en": ("reply stop",), "zh": ("回复stop",)}),
    "genuine": Line(("code", "registry", "chain"), {"en": ("genuine",), "zh": ("真伪",)}),
}

NOT_IN_SHORT: frozenset[LineId] = frozenset({"split", "pay", "stop"})
"""What a short text may leave out: each needs addresses and hashes of contracts, or many figures. The amount,
what being late costs, how to dispute, to ask for help and to opt out, and the code to check it by stay.
"""

SHORT_GENUINE = Line(("code", "chain"), LINES["genuine"].words)
"""How a short text tells by what it can be checked."""

MOST_SEGMENTS = 6
"""Messages of a telephone network, of 140 bytes each, that a short text may take."""

Phrase = Annotated[str, StringConstraints(min_length=1, pattern=r"\w")]
Phrases = dict[Literal["en", "zh"], list[Phrase]]
"""By language. In English whole words, in a row; a word that ends in * stands for all that begin with it.
Chinese has no such bounds: the characters, in a row."""


class WordRules(BaseModel):
    """What the notices made under a policy have to say, and what they may not.

    required: lines, with the kinds of notice (or `EVERY`) that need them. prohibited: groups of phrases that
    no text may hold, in either language: a Chinese text with an English threat in it threatens. telling: the
    phrases that a subject and a preview may not hold, since they would tell of a debt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    required: dict[LineId, list[str]]
    prohibited: dict[str, Phrases]
    telling: Phrases

    def lines(self, kind: str) -> Iterator[LineId]:
        """The lines that a kind of notice needs."""
        for line, kinds in self.required.items():
            if EVERY in kinds or kind in kinds:
                yield line

    def joined(self, other: Self) -> "WordRules":
        """What both ask for together."""
        required = dict(self.required)
        for line, kinds in other.required.items():
            required[line] = _union(required.get(line, []), kinds)
        prohibited = dict(self.prohibited)
        for group, phrases in other.prohibited.items():
            prohibited[group] = join_phrases(prohibited.get(group, {}), phrases)
        return WordRules(
            required=required, prohibited=prohibited, telling=join_phrases(self.telling, other.telling)
        )


def join_phrases(one: Phrases, other: Phrases) -> Phrases:
    """The phrases of both, each once."""
    return {
        locale: _union(one.get(locale, []), other.get(locale, []))
        for locale in get_args(Literal["en", "zh"])
        if locale in one or locale in other
    }


def _union(one: list[str], other: list[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


# ---------------------------------------------------------------------------------------------- the check


@dataclass(frozen=True, slots=True)
class Said:
    """A text as rendered in some situation.

    kind: the notice's, such as OVERDUE. shown: names of the values in subject and body; of these,
    `shown_early` are those in the subject and the preview. empty: names of the values that are empty here.
    short: made for a telephone.
    """

    kind: str
    locale: str
    subject: str
    body: str
    shown: frozenset[str] = frozenset()
    shown_early: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    short: bool = False

    @property
    def preview(self) -> str:
        """What a lock screen shows of the body."""
        return self.body[:PREVIEW]


def check(said: Said, rules: WordRules) -> list[str]:
    """What is wrong with a text, each with the id of its line or with its phrase; empty where nothing is."""
    text = f"{said.subject}\n{said.body}"
    problems = missing(said, rules)
    problems += [
        f"{phrase!r} is prohibited ({group})"
        for group, phrases in rules.prohibited.items()
        for phrase in find(text, phrases)
    ]
    problems += [f"{phrase!r} in the subject tells of a debt" for phrase in find(said.subject, rules.telling)]
    problems += [
        f"{phrase!r} in the first {PREVIEW} characters tells of a debt"
        for phrase in find(said.preview, rules.telling)
    ]
    problems += [
        f"{name!r} is shown in the subject or the first {PREVIEW} characters"
        for name in sorted(said.shown_early - SHOWN_TO_ALL)
    ]
    problems += [f"{problem}" for problem in _form(said, text)]
    return problems


def missing(said: Said, rules: WordRules) -> list[str]:
    """The required lines that a text does not have."""
    return [f"the line {line!r} is missing" for line in rules.lines(said.kind) if not _has(said, line)]


def find(text: str, phrases: Phrases) -> list[str]:
    """The phrases that a text holds, whatever their case and width, across line breaks and punctuation."""
    every = tuple(phrase for each in phrases.values() for phrase in each)
    words, characters = _patterns(every)
    spaced, compact = _spaced(text), _compact(text)
    # Nearly always there is none, and two searches tell.
    if not (words.search(spaced) or characters.search(compact)):
        return []
    return [
        phrase
        for phrase in every
        if (_compact(phrase) in compact if _is_chinese(phrase) else _pattern(phrase).search(spaced))
    ]


def _has(said: Said, line: LineId) -> bool:
    if said.short and line in NOT_IN_SHORT:
        return True
    wanted = SHORT_GENUINE if said.short and line == "genuine" else LINES[line]
    present = [name for name in wanted.values if name not in said.empty]
    if wanted.values and not present:
        return True
    words = list(wanted.words.get(said.locale, ()))
    # Recognised wherever it stands, "回复 STOP" too: so without bounds of words.
    text = _compact(said.body)
    return said.shown.issuperset(present) and (not words or any(_compact(word) in text for word in words))


def _form(said: Said, text: str) -> Iterator[str]:
    if not said.subject.strip() or "\n" in said.subject:
        yield "a text is a subject of one line, an empty line, and a body"
    if len(said.body) < PREVIEW:
        yield f"the body is shorter than {PREVIEW} characters"
    for markup in ("{{", "}}", "{%", "%}", "{#", "#}"):
        if markup in text:
            yield f"{markup!r} was left in the text"
    # A look-alike from another alphabet would hide a word from every rule.
    strange = {char for char in set(text) if not _is_plain(char)}
    if strange:
        names = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in sorted(strange))
        yield f"characters that no text needs: {names}"
    if said.locale == "en" and any(map(_is_chinese, text)):
        yield "Chinese characters in an English text"
    if said.short and (count := segments(f"{said.subject}\n\n{said.body}")) > MOST_SEGMENTS:
        yield f"a short text takes {count} messages of a telephone network, more than {MOST_SEGMENTS}"


_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("^{}\\[~]|€")


def segments(text: str) -> int:
    """In how many messages a telephone network carries a text. Source: 3GPP TS 23.038, 6.2.1, and 23.040,
    9.2.3.24.1: 160 characters of the GSM alphabet or 70 others, 153 or 67 where they are joined.
    """
    if _GSM.union(_GSM_TWICE).issuperset(text):
        length, alone, joined = len(text) + sum(char in _GSM_TWICE for char in text), 160, 153
    else:
        length, alone, joined = len(text.encode("utf-16-be")) // 2, 70, 67
    return 1 if length <= alone else -(-length // joined)


@lru_cache(maxsize=4096)
def _is_plain(char: str) -> bool:
    if char == "\n" or " " <= char <= "~":
        return True
    category = unicodedata.category(char)
    if category[0] == "L":
        return unicodedata.name(char, "").startswith("CJK UNIFIED")
    return category[0] in "PS"


@lru_cache(maxsize=4096)
def _is_chinese(text: str) -> bool:
    return any(unicodedata.name(char, "").startswith("CJK UNIFIED") for char in text)


@lru_cache(maxsize=2048)
def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    hidden = {ord(char): None for char in set(folded) if unicodedata.category(char) == "Cf"}
    return folded.translate(hidden) if hidden else folded


@lru_cache(maxsize=2048)
def _spaced(text: str) -> str:
    """The words alone, with a blank between any two, at the beginning and at the end."""
    return " " + " ".join(re.findall(r"[^\W_]+", _folded(text))) + " "


@lru_cache(maxsize=2048)
def _compact(text: str) -> str:
    """The letters and digits alone."""
    return "".join(re.findall(r"[^\W_]+", _folded(text)))


@lru_cache(maxsize=1024)
def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(f" {_source(phrase)} ")


@lru_cache(maxsize=128)
def _patterns(phrases: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Any of the phrases: those made of words, and those made of characters. Nothing matches none."""
    words = [_source(phrase) for phrase in phrases if not _is_chinese(phrase)]
    characters = [re.escape(_compact(phrase)) for phrase in phrases if _is_chinese(phrase)]
    return re.compile(f" (?:{'|'.join(words) or '(?!)'}) "), re.compile("|".join(characters) or "(?!)")


def _source(phrase: str) -> str:
    return " ".join(
        re.escape(_spaced(word).strip()) + (r"[^\W_]*" if word.endswith("*") else "")
        for word in phrase.split()
    )
