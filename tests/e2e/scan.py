"""Looks for what must be nowhere, in every form that a program may have given it."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from web3 import Web3


def spellings(word: str) -> Iterator[tuple[str, bytes]]:
    """A word's bytes, in each form, named."""
    cases = {"as it is": word, "upper case": word.upper(), "lower case": word.lower()}
    for case, text in cases.items():
        for coding in ("utf-8", "utf-16-le", "utf-16-be"):
            plain = text.encode(coding)
            yield f"{case}, {coding}", plain
            yield f"{case}, {coding}, hex", plain.hex().encode()
            yield f"{case}, {coding}, upper-case hex", plain.hex().upper().encode()
            for shift in range(3):
                # What of it does not depend on what stands before and after.
                coded = base64.b64encode(bytes(shift) + plain)
                whole = coded[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6]
                yield f"{case}, {coding}, base64 +{shift}", whole
                yield (
                    f"{case}, {coding}, base64 for URLs +{shift}",
                    whole.translate(bytes.maketrans(b"+/", b"-_")),
                )
        yield f"{case}, URL", quote(text, safe="").encode()
        yield f"{case}, lower-case URL", quote(text, safe="").lower().encode()
        yield f"{case}, JSON", ascii(text)[1:-1].encode()


def find(places: Mapping[str, bytes], words: Iterable[str]) -> list[str]:
    """Where the words were found, and in what form."""
    forms = [(word, form, coded) for word in words for form, coded in spellings(word)]
    return [
        f"{word} in {place}: {form}"
        for place, data in places.items()
        for word, form, coded in forms
        if coded in data
    ]


def files(directory: Path, *, without: Iterable[str] = ()) -> dict[str, bytes]:
    """The bytes of all files below a directory, but in the folders named."""
    leave = set(without)
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not leave & set(path.relative_to(directory).parts)
    }


def chain(w3: Web3) -> dict[str, bytes]:
    """The input of every transaction, and every log, of every block."""
    found = {}
    for number in range(w3.eth.block_number + 1):
        data = b""
        for transaction in w3.eth.get_block(number, full_transactions=True)["transactions"]:
            data += bytes(transaction["input"])
            for log in w3.eth.get_transaction_receipt(transaction["hash"])["logs"]:
                data += b"".join(map(bytes, log["topics"])) + bytes(log["data"])
        found[f"block {number}"] = data
    return found
