"""The policy packs that come with the program, and others of the same form."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from duly.domain.errors import InvalidInput
from duly.domain.notice import Kind
from duly.domain.pack import PolicyPack, check_tightens, check_unread, completed, laid_over
from duly.domain.policy import InvalidPolicy
from duly.domain.words import EVERY, WordRules

_PACKS = files("duly") / "policies"
_STRICT: Final = "STRICT"


class InvalidPack(InvalidInput):
    """This file is not a policy pack."""


def pack_names() -> list[str]:
    """The packs that come with the program, such as STRICT."""
    return sorted(
        file.name.removesuffix(".toml").upper() for file in _PACKS.iterdir() if file.name.endswith(".toml")
    )


def find_pack(name: str) -> PolicyPack:
    """A pack by what a person calls it: the name of one that comes with the program, or a TOML file of one's
    own.

    Raises: InvalidPack.
    """
    return read_pack(Path(name)) if name.lower().endswith(".toml") else load_pack(name)


@cache
def load_pack(name: str = _STRICT) -> PolicyPack:
    """A pack that comes with the program, by its name in any case.

    Raises: InvalidPack, when there is none of that name.
    """
    if name.upper() not in pack_names():
        raise InvalidPack(
            f"there is no policy pack {name!r}",
            wanted=", ".join(pack_names()) + ", or a TOML file of one's own",
        )
    file = _PACKS / f"{name.lower()}.toml"
    return _parse(file.read_text(encoding="utf-8"), file.name, Path(), (), own=name.upper() == _STRICT)


def read_pack(path: Path) -> PolicyPack:
    """A pack from a file of one's own. An overlay names its base by its name, or by a file beside its own.

    Raises: InvalidPack, which names every value that is missing, unknown, out of bounds or too loose.
    """
    pack = _read(path, ())
    found = pack.holidays
    if found and found.public_holidays and found.public_holidays.value:
        # Takes a fifth of a second, which those that come along need not spend: a test looks at them.
        import holidays

        if found.country.value not in holidays.list_supported_countries(include_aliases=False):
            raise InvalidPack(
                f"{path.name}: holidays.country: no public holidays are known of {found.country.value}",
                wanted="a country that the package `holidays` has, or no holidays.public_holidays",
            )
    return pack


def parse_pack(text: str, name: str = "the pack") -> PolicyPack:
    """A pack from its text; `name` is what errors call it.

    Raises: InvalidPack, which names every value that is missing, unknown, out of bounds or too loose.
    """
    return _parse(text, name, Path(), ())


def _read(path: Path, above: tuple[Path, ...]) -> PolicyPack:
    if path.resolve() in above:
        raise InvalidPack(
            f"{path.name} is laid over itself: "
            + ", over ".join(step.name for step in (*above[above.index(path.resolve()) :], path))
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPack(f"{path} cannot be read: {error}") from None
    return _parse(text, path.name, path.parent, (*above, path.resolve()))


def _parse(text: str, name: str, folder: Path, above: tuple[Path, ...], *, own: bool = False) -> PolicyPack:
    """folder: in which the bases of overlays are looked for. above: the overlays over this pack, and itself.
    own: it is STRICT, by which others are measured.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidPack(f"{name} is not TOML: {error}") from None
    try:
        if own:
            pack = PolicyPack.model_validate(content)
        else:
            strict = load_pack()
            base = _base(content["extends"], name, folder, above) if "extends" in content else None
            pack = PolicyPack.model_validate(laid_over(base, content) if base else completed(content, strict))
            if base:
                check_tightens(pack, base)
            check_unread(pack, strict)
    except InvalidPolicy as error:
        raise InvalidPack(f"{name}: {error.wrong}", wanted=error.wanted) from None
    except ValidationError as error:
        problems = (
            ".".join(map(str, problem["loc"]))
            + ": " * bool(problem["loc"])
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_url=False)
        )
        raise InvalidPack(f"{name}: " + "; ".join(problems)) from None
    known = {EVERY, *(kind.name for kind in Kind)}
    for line, kinds in (pack.words.required if pack.words else {}).items():
        if unknown := set(kinds.value) - known:
            raise InvalidPack(
                f"{name}: words.required.{line}: there is no kind of notice {', '.join(sorted(unknown))}",
                wanted=", ".join(sorted(known)),
            )
    return pack


def word_rules(pack: PolicyPack) -> WordRules:
    """What the texts of a pack are checked against: STRICT's rules, which hold everywhere, and its own."""
    return strict_rules().joined(pack.words.rules) if pack.words else strict_rules()


@cache
def strict_rules() -> WordRules:
    """The rules about words of the STRICT pack."""
    words = load_pack().words
    assert words is not None  # it ships with the program
    return words.rules


@cache
def pack_published(pack_hash: bytes) -> PolicyPack | None:
    """The pack that was published with this hash, where it comes with the program."""
    return next((pack for pack in map(load_pack, pack_names()) if pack.pack_hash == pack_hash), None)


@cache
def word_rules_published(pack_hash: bytes) -> WordRules:
    """The rules about words of the pack that was published with this hash, where it comes with the program;
    of any other, STRICT's.
    """
    pack = pack_published(pack_hash)
    return word_rules(pack) if pack else strict_rules()


def _base(given: Any, name: str, folder: Path, above: tuple[Path, ...]) -> PolicyPack:
    """The pack that an overlay is laid over."""
    if not isinstance(given, str):
        raise InvalidPack(
            f"{name}: extends: {given!r}", wanted="a pack's name, or a TOML file beside this one"
        )
    if given.lower().endswith(".toml"):
        return _read(folder / given, above)
    return load_pack(given)
