"""The policy packs that come with the program, and others of the same form."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from duly.domain.errors import InvalidInput
from duly.domain.notice import Kind
from duly.domain.policy import PolicyPack
from duly.domain.words import EVERY, WordRules

_PACKS = files("duly") / "policies"


class InvalidPack(InvalidInput):
    """This file is not a policy pack."""


def pack_names() -> list[str]:
    """The packs that come with the program, such as STRICT."""
    return sorted(
        file.name.removesuffix(".toml").upper() for file in _PACKS.iterdir() if file.name.endswith(".toml")
    )


def load_pack(name: str = "STRICT") -> PolicyPack:
    """A pack that comes with the program, by its name in any case.

    Raises: InvalidPack, when there is none of that name.
    """
    if name.upper() not in pack_names():
        raise InvalidPack(f"there is no policy pack {name!r}", wanted=", ".join(pack_names()))
    file = _PACKS / f"{name.lower()}.toml"
    return parse_pack(file.read_text(encoding="utf-8"), file.name)


def read_pack(path: Path) -> PolicyPack:
    """A pack from a file of one's own.

    Raises: InvalidPack, which names every value that is missing, unknown or out of bounds.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPack(f"{path} cannot be read: {error}") from None
    return parse_pack(text, path.name)


def parse_pack(text: str, name: str = "the pack") -> PolicyPack:
    """A pack from its text; `name` is what errors call it.

    Raises: InvalidPack, which names every value that is missing, unknown or out of bounds.
    """
    try:
        pack = PolicyPack.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidPack(f"{name} is not TOML: {error}") from None
    except ValidationError as error:
        problems = (
            ".".join(map(str, problem["loc"]))
            + ": " * bool(problem["loc"])
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_url=False)
        )
        raise InvalidPack(f"{name}: " + "; ".join(problems)) from None
    known = {EVERY, *(kind.name for kind in Kind)}
    for line, kinds in pack.words.required.items():
        if unknown := set(kinds.value) - known:
            raise InvalidPack(
                f"{name}: words.required.{line}: there is no kind of notice {', '.join(sorted(unknown))}",
                wanted=", ".join(sorted(known)),
            )
    return pack


def word_rules(pack: PolicyPack) -> WordRules:
    """What the texts of a pack are checked against: STRICT's rules, which hold everywhere, and its own."""
    return strict_rules().joined(pack.words.rules)


@cache
def strict_rules() -> WordRules:
    """The rules about words of the STRICT pack."""
    return load_pack("STRICT").words.rules


@cache
def word_rules_published(pack_hash: bytes) -> WordRules:
    """The rules of the pack that was published with this hash, where it comes with the program; of any other,
    STRICT's.
    """
    for name in pack_names():
        pack = load_pack(name)
        if pack.pack_hash == pack_hash:
            return word_rules(pack)
    return strict_rules()
