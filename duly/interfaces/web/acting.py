"""What a visitor's wallet is asked to send: prepared here, call by call, and shown before it is signed.

    act = Act.of(visit, calls, back="/loans/…")
    visit.show("….html", act=act)          and in the template: {% include "act.html" %}

`act.html` shows the steps with a button; `app.js` hands them to the wallet one after the other, and each
step tells where its transaction stands, from the click to finality. `sign.html` is a form whose button has
the wallet sign a `Signing`, and sends the signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eth_utils.address import to_checksum_address

from duly.chain.contracts import Call
from duly.chain.errors import ContractError
from duly.interfaces.web.language import N_, Writer
from duly.services import transactions

if TYPE_CHECKING:
    from duly.interfaces.web.visit import Visit

STEPS: Final[Mapping[str, str]] = {
    "LoanLedger.repay": N_("Pay"),
    "LoanLedger.settle": N_("Close the loan"),
    "LoanLedger.prepay": N_("Pay principal back"),
    "LoanLedger.rescind": N_("Withdraw from the loan"),
    "LoanLedger.amend": N_("Put the new terms in the loan's place"),
    "LoanLedger.cancelOffer": N_("Withdraw the offer"),
    "LoanLedger.defer": N_("Let all instalments fall due later"),
    "TestDollar.approve": N_("Allow the ledger to take this amount"),
    "GrievanceDesk.lodge": N_("Record it on the ledger"),
    "GrievanceDesk.withdraw": N_("Take it back on the ledger"),
    "ConsentRegistry.register": N_("Register the contact"),
    "ConsentRegistry.grant": N_("Consent"),
    "ConsentRegistry.revoke": N_("Revoke consent"),
    "ConsentRegistry.cease": N_("Stop all contact"),
}
"""What calls are called, by `Call.what`. Whoever prepares another one adds it here."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What the visitor's wallet is asked to sign, and where the signature goes as a form's field. from_: who
    has to sign. typed_data: as `eth_signTypedData_v4` takes it. fields: the form's others.
    """

    from_: str
    chain_id: int
    path: str
    typed_data: Mapping[str, object]
    fields: Mapping[str, str]

    @classmethod
    def of(cls, visit: "Visit", path: str, typed_data: Mapping[str, object], **fields: str) -> "Signing":
        """By who signed in."""
        return cls(to_checksum_address(visit.address), visit.portal.chain_id, path, typed_data, fields)


@dataclass(frozen=True, slots=True)
class Act:
    """Calls that the visitor's wallet is to send, in this order.

    from_: who has to send them. back: the page to go on to when all is final. refusal: why the ledger would
    refuse it already now, in words, where that can be known.
    """

    from_: str
    chain_id: int
    steps: tuple[Call, ...]
    back: str
    refusal: str | None = None

    @classmethod
    def of(cls, visit: "Visit", calls: Sequence[Call], back: str) -> "Act":
        """An act of who signed in. Raises: ChainUnavailable, NodeError."""
        refusal = None
        if len(calls) == 1:
            # What follows another step cannot be tried before that is done.
            error = transactions.why_refused(visit.app, calls[0], visit.address)
            refusal = in_words(error, visit.write) if error else None
        return cls(to_checksum_address(visit.address), visit.portal.chain_id, tuple(calls), back, refusal)

    def label(self, step: Call) -> str:
        """What a step is called, to be translated."""
        return STEPS.get(step.what, step.what)

    @property
    def for_wallet(self) -> list[dict[str, str]]:
        """The transactions, as EIP-1193 takes them."""
        return [
            {
                "from": self.from_,
                "to": to_checksum_address(step.to or ""),
                "data": "0x" + step.data.hex(),
                "value": hex(step.value),
            }
            for step in self.steps
        ]


def in_words(error: ContractError, write: Writer) -> str:
    """Why a contract refused, for people."""
    return write.text(error.meaning) if error.meaning else error.reason
