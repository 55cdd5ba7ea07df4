"""Proves that an address is its borrower's own: sends a code there, and checks it.

The code is the one message that no NoticeServed event stands behind (GATE-1's exception). Its words know of
nothing but the code: no loan, no debt, no lender. How many may be sent to an address, and to a borrower, the
vault limits. Until an address is verified the vault does not tell its commitment, so there is nothing that
the borrower could register and consent to, and nothing is delivered there.
"""

import time
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from duly.chain import networks
from duly.channels.message import Carrier, CarrierUnavailable, CodeMessage, Result
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.services.importing import LocalChainsOnly
from duly.services.render import Text, locale_for
from duly.services.templates import LOCALES
from duly.store.vault import CODE_SECONDS, Commitment, Vault

_SETTINGS = {
    Channel.EMAIL: "Set DULY_SMTP_HOST and DULY_SMTP_SENDER.",
    Channel.SMS: "Set DULY_SMS_URL.",
    Channel.PUSH: "Set DULY_PUSH_URL.",
}


class CodeNotSent(DulyError):
    """The code could not be sent."""


def send_code(
    vault: Vault,
    carriers: Mapping[Channel, Carrier],
    borrower: str,
    channel: Channel,
    *,
    at: int | None = None,
) -> None:
    """Send a code to the borrower's own address, in place of an earlier one.

    at: the time that the message bears, UTC seconds; by default this machine's.

    Raises: CarrierUnavailable, CodeNotSent, NoSuchContact, TooManyCodes, VaultError.
    """
    carrier = carriers.get(channel)
    if carrier is None:
        raise CarrierUnavailable(
            f"there is no way to send a code by {channel.label}", remedy=_SETTINGS.get(channel)
        )
    # Before there is a code, which would count.
    carrier.ready()
    code = vault.new_code(borrower, channel)
    language = locale_for(code.language)
    text = words(code.code, language, short=channel.is_short)
    moment = int(time.time()) if at is None else at
    receipt = carrier.send(CodeMessage(code.address, text.subject, text.body, language, moment))
    if receipt.result is not Result.SENT:
        perhaps = " for certain" if receipt.result is Result.UNKNOWN else ""
        raise CodeNotSent(f"the code was not sent{perhaps} ({receipt.reason or 'refused'})")


def words(code: str, language: str, *, short: bool = False) -> Text:
    """What a message with a code says; a `short` one to a telephone."""
    name = f"{language}.short" if short else language
    text = _environment().get_template(name).render(code=code, minutes=CODE_SECONDS // 60)
    subject, _, body = text.partition("\n\n")
    return Text(subject, body)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    # Beside the notices' templates: those are published with a policy, and these are no notices.
    root = files("duly") / "templates" / "code"
    names = [locale + form for locale in LOCALES for form in ("", ".short")]
    texts = {name: (root / f"{name}.txt").read_text(encoding="utf-8") for name in names}
    return ImmutableSandboxedEnvironment(
        loader=DictLoader(texts), undefined=StrictUndefined, keep_trailing_newline=True
    )


def verify_simulated(
    vault: Vault, chain_id: int, borrowers: Iterable[tuple[str, Channel]]
) -> list[Commitment]:
    """Take the addresses of simulated borrowers for verified, without a code: nobody is there to tell one.

    The vault keeps, and shows, that this is how they were verified.

    Returns: what their keys have to register on chain.
    Raises: LocalChainsOnly, NoSuchContact, VaultError.
    """
    if not networks.is_local(chain_id):
        raise LocalChainsOnly(
            "addresses are verified without a code for simulated borrowers only, not on chain "
            f"{networks.chain_name(chain_id)}",
            remedy="Send a code: duly vault verify.",
        )
    return vault.verify_simulated(borrowers)
