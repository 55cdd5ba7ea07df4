"""The form in which a borrower's own address is kept, hashed and written to, for each channel."""

import re
import unicodedata

from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput


class InvalidContact(InvalidInput):
    """This is no address at which somebody could be reached. The message never repeats it."""


_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)+(xn--[a-z0-9-]{{1,59}}|[a-z]{{2,63}})")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_ON_CHAIN = re.compile(r"0x[0-9a-fA-F]{40}")
_TOKEN = re.compile(r"[!-~]{1,512}")


def normalise(channel: Channel, address: str) -> str:
    """The form of an address that is kept, hashed and written to.

    E-mail: no surrounding space, the domain in lower case. SMS: `+` and digits alone (E.164). In-app: the
    borrower's address on chain in lower case.

    Raises: InvalidContact, whose message does not repeat the address.
    """
    text = unicodedata.normalize("NFC", address).strip()
    if channel is Channel.EMAIL:
        local, at, domain = text.rpartition("@")
        domain = domain.lower()
        if not domain.isascii():
            raise InvalidContact(
                "the e-mail address has a domain beyond ASCII", wanted="the domain in its xn-- form"
            )
        if not (at and len(local) <= 64 and len(text) <= 254):
            raise InvalidContact("this is no e-mail address", wanted="somebody@example.org")
        if not (_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain)):
            raise InvalidContact("this is no e-mail address", wanted="somebody@example.org")
        return f"{local}@{domain}"
    if channel is Channel.SMS:
        text = re.sub(r"[\s().-]", "", text)
        if not _PHONE.fullmatch(text):
            raise InvalidContact(
                "this is no telephone number", wanted="+ and the country code, then the number"
            )
        return text
    if channel is Channel.IN_APP:
        if not _ON_CHAIN.fullmatch(text):
            raise InvalidContact(
                "an in-app inbox is found by its borrower alone",
                wanted="the borrower's address on chain: 0x and 40 hexadecimal digits",
            )
        return text.lower()
    if not _TOKEN.fullmatch(text):
        raise InvalidContact(
            f"this is no address for {channel.name.lower()}", wanted="a token without spaces"
        )
    return text


def masked(channel: Channel, address: str) -> str:
    """An address as it may be shown to whoever only has to recognise it."""
    if channel is Channel.EMAIL:
        local, _, domain = address.rpartition("@")
        top = domain.rpartition(".")[2]
        return f"{local[:1]}***@{domain[:1]}***.{top}"
    return f"***{address[-2:]}"
