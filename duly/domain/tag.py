"""The tag of a message: what whoever carries it calls it by, and what reports about it name.

It begins with half of the id of the message's first notice; the other half is a code that only the service
can make. So a report is about a message of this service exactly where its tag is genuine, and whoever makes
one up changes nothing. A tag fits into the part of a mail address before the @, in lower case.
"""

import base64
import hashlib
import hmac
import re
from typing import Final

_HALF: Final = 15
TAG: Final = re.compile(r"(?<![a-z2-7])[a-z2-7]{48}(?![a-z2-7])")
"""What may be a tag, in a text in lower case."""


def tag_of(key: bytes, notice: bytes) -> str:
    """The tag of the message whose first notice has an id."""
    return base64.b32encode(notice[:_HALF] + _code(key, notice[:_HALF])).decode().lower()


def read_tag(key: bytes, tag: str) -> bytes | None:
    """With what the notice's id begins; None of a tag that was not made with this key."""
    if not TAG.fullmatch(tag):
        return None
    told = base64.b32decode(tag.upper())
    return told[:_HALF] if hmac.compare_digest(told[_HALF:], _code(key, told[:_HALF])) else None


def _code(key: bytes, half: bytes) -> bytes:
    return hmac.digest(key, b"duly/tag/1" + half, hashlib.sha256)[:_HALF]
