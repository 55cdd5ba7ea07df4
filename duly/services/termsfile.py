"""Terms in a file: JSON with the names and units of `Terms` in `contracts/interfaces/ILoanLedger.sol`.

The same object is the message of an EIP-712 signature, so a wallet takes it as it stands. It stands in a file
alone, or as the `terms` of an offer (`duly.services.offer`).
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from duly.domain.amounts import shown
from duly.domain.errors import InvalidTerms
from duly.domain.terms import Terms

_MOST_BRACKETS: Final = 100
_HASHES: Final = ("agreementHash", "replaces", "salt")
_HASH: Final = re.compile("0x[0-9a-fA-F]{64}")
_ADDRESSES: Final = ("lender", "borrower")


def _name(field: str) -> str:
    """A field's name in Solidity: agreementHash."""
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others))


_NAMES: Final = tuple(map(_name, Terms.__slots__))


def as_json(terms: Terms) -> dict[str, Any]:
    """The terms as a JSON object, in Solidity's order: integers, addresses and hashes as 0x and hexadecimal
    digits.
    """
    values = (f"0x{value.hex()}" if isinstance(value, bytes) else value for value in terms.as_tuple())
    return dict(zip(_NAMES, values, strict=True))


def load(text: str) -> Any:
    """JSON that somebody sent. What is nested deeply is refused unread: it could exhaust the stack, which
    ends the process where a library has raised Python's own limit.

    Raises: ValueError.
    """
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ValueError(f"it holds more than {_MOST_BRACKETS} objects")
    return json.loads(text)


def parse(text: str, name: str = "the file") -> Terms:
    """Terms from their JSON, or from an offer's; `name` is what errors call it.

    Raises: InvalidTerms.
    """
    try:
        found = load(text)
    except ValueError as error:
        raise InvalidTerms(f"{name} is not JSON: {error}") from None
    return from_json(found.get("terms", found) if isinstance(found, dict) else found, name)


def from_json(found: object, name: str) -> Terms:
    """Terms from the object that `as_json` makes.

    Raises: InvalidTerms.
    """
    if not isinstance(found, dict) or set(found) != set(_NAMES):
        raise InvalidTerms(f"{name} does not hold terms", wanted=f"an object of {', '.join(_NAMES)}")
    return Terms.from_tuple(tuple(_value(key, found[key], name) for key in _NAMES))  # type: ignore[arg-type]


def read(path: Path) -> Terms:
    """Terms from a file.

    Raises: InvalidTerms.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTerms(f"{path} cannot be read: {error}") from None
    return parse(text, path.name)


def text_of(terms: Terms) -> str:
    """What such a file holds."""
    return json.dumps(as_json(terms), indent=2) + "\n"


def _value(key: str, value: object, name: str) -> str | int | bytes:
    if key in _HASHES:
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            wanted = "0x and 64 hexadecimal digits"
            raise InvalidTerms(f"{name}: {key} is {shown(str(value))}", wanted=wanted)
        return bytes.fromhex(value[2:])
    if not isinstance(value, str if key in _ADDRESSES else int) or isinstance(value, bool):
        wanted = "an address" if key in _ADDRESSES else "a whole number"
        raise InvalidTerms(f"{name}: {key} is {shown(str(value))}", wanted=wanted)
    return value
