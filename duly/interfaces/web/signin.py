"""Signing in with a wallet: a message by EIP-4361, made here, signed once, checked in every part.

The nonce that is signed is also in a cookie of the browser that asked for it: nobody can sign another's
browser in.
"""

import hmac
import re
import time
import warnings
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from eth_utils.address import is_address, to_checksum_address

from duly.domain.errors import InvalidInput
from duly.interfaces.web.language import N_
from duly.store.sessions import NONCE_SECONDS

if TYPE_CHECKING:
    from siwe import SiweMessage

    from duly.bootstrap import Application

STATEMENT: Final = "Sign in to Duly. This costs nothing and moves no money."
_LONGEST: Final = 2_000
_SIGNATURE: Final = re.compile(r"0x(?:[0-9a-fA-F]{2}){1,2048}")


class SignInRefused(InvalidInput):
    """The sign-in was not accepted."""


def message_for(app: "Application", origin: str, address: str, now: int | None = None) -> tuple[str, str]:
    """What the owner of an address signs to sign in, and the nonce in it.

    Raises: SignInRefused.
    """
    if not is_address(address):
        raise SignInRefused(N_("This is no address of a wallet."))
    now = int(time.time()) if now is None else now
    nonce = app.sessions.new_nonce(now)
    message = _siwe()(
        domain=urlsplit(origin).netloc,
        address=to_checksum_address(address),
        statement=STATEMENT,
        uri=origin,
        version="1",
        chain_id=app.portal.chain_id,
        nonce=nonce,
        issued_at=_iso(now),
        expiration_time=_iso(now + NONCE_SECONDS),
    )
    return str(message.prepare_message()), nonce


def sign_in(
    app: "Application", origin: str, message: str, signature: str, nonce: str, now: int | None = None
) -> str:
    """Begin a session of who signed the message; its token.

    nonce: that of the browser's cookie.

    Raises: SignInRefused.
    """
    now = int(time.time()) if now is None else now
    try:
        if len(message) > _LONGEST or not _SIGNATURE.fullmatch(signature):
            raise ValueError
        found = _siwe().from_message(message)
    except Exception:
        # The parser raises whatever its grammar does.
        raise SignInRefused(N_("This is not the message that was to be signed.")) from None
    if found.scheme not in (None, urlsplit(origin).scheme) or found.domain != urlsplit(origin).netloc:
        raise SignInRefused(N_("The message was signed for another site."))
    if str(found.uri).rstrip("/") != origin:
        raise SignInRefused(N_("The message was signed for another site."))
    if found.chain_id != app.portal.chain_id:
        raise SignInRefused(N_("The message was signed for another chain."))
    if not nonce or not hmac.compare_digest(found.nonce, nonce):
        raise SignInRefused(N_("The message was made for another browser."))
    if found.expiration_time is None or found.expiration_time._datetime.timestamp() <= now:
        raise SignInRefused(N_("The message is too old."))
    if found.not_before is not None and found.not_before._datetime.timestamp() > now:
        raise SignInRefused(N_("The message is not valid yet."))
    # Used up before the signature is looked at: one message, one try.
    if not app.sessions.use_nonce(found.nonce, now):
        raise SignInRefused(N_("The message was used before, or is too old."))
    if not _signed_by_owner(app, found, signature, now):
        raise SignInRefused(N_("The signature is not that of this wallet."))
    return app.sessions.begin(str(found.address).lower(), now)


def csrf_of(token: str) -> str:
    """What a form has to carry to be taken as one of this session's own pages."""
    return hmac.new(token.encode(), b"duly csrf", sha256).hexdigest()


def _signed_by_owner(app: "Application", message: "SiweMessage", signature: str, now: int) -> bool:
    from siwe import VerificationError

    moment = datetime.fromtimestamp(now, UTC)
    try:
        message.verify(signature, nonce=message.nonce, timestamp=moment)
    except VerificationError:
        return _signed_by_contract(app, message, signature, moment)
    except Exception:
        # A signature of another length, or one that no key can have made.
        return _signed_by_contract(app, message, signature, moment)
    return True


def _signed_by_contract(app: "Application", message: "SiweMessage", signature: str, moment: datetime) -> bool:
    """Whether the address is a contract that takes the signature for its own (EIP-1271)."""
    try:
        if not app.w3.eth.get_code(message.address):
            return False
        provider: Any = app.w3.provider
        message.verify(signature, nonce=message.nonce, timestamp=moment, provider=provider)
    except Exception:
        return False
    return True


def _iso(moment: int) -> Any:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _siwe() -> Any:
    with warnings.catch_warnings():
        # Its grammar defines the letters of the alphabet again.
        warnings.simplefilter("ignore")
        from siwe import SiweMessage
    return SiweMessage
