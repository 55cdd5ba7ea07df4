"""`duly loan`: a loan to look at, and what a party does about it with the key of DULY_KEY_FILE."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from duly.domain.amounts import amount_of, in_currency
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind
from duly.interfaces.cli import look
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, confirm, console, print_json
from duly.interfaces.cli.plan import reason

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.chain.contracts import LoanLedger
    from duly.domain.loan import Loan
    from duly.services.lending import Done, Party

LoanId = Annotated[
    str,
    typer.Argument(metavar="LOAN", help="The loan's id, or enough of its beginning.", show_default=False),
]
Amount = Annotated[
    str,
    typer.Argument(metavar="AMOUNT", help="In the currency's units, such as 1061.82.", show_default=False),
]
_GRIEVANCES = {
    "dispute": Grievance.DISPUTE,
    "hardship": Grievance.HARDSHIP,
    "represented": Grievance.REPRESENTATION,
}
_KINDS = {kind.name.lower().replace("_", "-"): kind for kind in Kind}
Yes = Annotated[bool, typer.Option("--yes", "-y", help="On a live chain: do not ask before sending.")]


class NoDocument(InvalidInput):
    """The document that proves a receipt cannot be read."""


class CannotBeSaid(DulyError):
    """The gate would not let this notice through."""


class _Loan(TyperGroup):
    """A group that shows what it is given, where that is none of its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["show", *args]
        return super().parse_args(ctx, args)


loan = typer.Typer(
    cls=_Loan,
    no_args_is_help=True,
    help="Show a loan (`duly loan LOAN`), or act on it with the key of DULY_KEY_FILE.",
)
loan.command("show")(look.loan)


@loan.command()
def repay(loan_id: LoanId, amount: Amount, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Pay towards a loan, any amount at any time; no more is taken than what is owed.

    Approves the payment first, where the ledger may not take it yet.

    \b
    Example:
      duly loan repay 0x3f2a 1061.82
    """
    with _Acting(loan_id, rpc, yes, json) as it:
        it.tell(it.party.repay(it.loan, it.units(amount), it.now))


@loan.command()
def settle(
    loan_id: LoanId,
    maximum: Annotated[
        str | None,
        typer.Option(
            "--at-most", help="Most to pay. [default: what it costs within the hour]", show_default=False
        ),
    ] = None,
    rpc: Rpc = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Close a loan early: arrears, fees and principal, with interest up to the second.

    \b
    Example:
      duly loan settle 0x3f2a
    """
    with _Acting(loan_id, rpc, yes, json) as it:
        it.tell(it.party.settle(it.loan, it.now, it.units(maximum) if maximum else None))


@loan.command()
def prepay(loan_id: LoanId, amount: Amount, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Pay principal back ahead, as the borrower, so that the instalments become smaller.

    What is overdue and the late fees come first. The loan goes on as another one.

    \b
    Example:
      duly loan prepay 0x3f2a 2500
    """
    with _Acting(loan_id, rpc, yes, json) as it:
        it.tell(it.party.prepay(it.loan, it.units(amount), it.now))


@loan.command()
def rescind(loan_id: LoanId, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Withdraw from a loan in the cooling-off period, as the borrower.

    Gives back what was received, less what was paid, with interest for each day; no fee of any kind.

    \b
    Example:
      duly loan rescind 0x3f2a
    """
    with _Acting(loan_id, rpc, yes, json) as it:
        policy = it.app.read_model.policy(it.loan.terms.policy)
        assert policy is not None  # the loan was opened under it
        it.tell(it.party.rescind(it.loan, policy.lending, it.now))


@loan.command()
def acknowledge(
    loan_id: LoanId,
    amount: Amount,
    receipt: Annotated[
        Path, typer.Option(help="The document that proves it; its keccak-256 hash goes on chain.")
    ],
    rpc: Rpc = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Credit money that was received outside the chain, as the lender. It cannot be taken back.

    \b
    Example:
      duly loan acknowledge 0x3f2a 1061.82 --receipt statement.pdf
    """
    from eth_utils.crypto import keccak

    try:
        proof = keccak(receipt.read_bytes())
    except OSError as error:
        raise NoDocument(f"{receipt} cannot be read: {error.strerror or error}") from None
    _send(
        loan_id,
        rpc,
        yes,
        json,
        lambda ledger, it: ledger.acknowledge_receipt(it.loan.id, it.units(amount), proof),
    )


@loan.command()
def waive(loan_id: LoanId, amount: Amount, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Give up unpaid late fees, up to an amount, as the lender.

    \b
    Example:
      duly loan waive 0x3f2a 40
    """
    _send(loan_id, rpc, yes, json, lambda ledger, it: ledger.waive(it.loan.id, it.units(amount)))


@loan.command()
def forgive(loan_id: LoanId, amount: Amount, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Give up part of what is owed, or all, as the lender. It cannot be taken back.

    \b
    Example:
      duly loan forgive 0x3f2a 500
    """
    _send(loan_id, rpc, yes, json, lambda ledger, it: ledger.forgive(it.loan.id, it.units(amount)))


@loan.command()
def defer(
    loan_id: LoanId,
    intervals: Annotated[int, typer.Argument(min=1, max=255, help="By how many intervals.")] = 1,
    rpc: Rpc = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Let all unpaid instalments fall due later, free of interest, as the lender.

    The loan goes on as another one.

    \b
    Example:
      duly loan defer 0x3f2a 2
    """
    _send(loan_id, rpc, yes, json, lambda ledger, it: ledger.defer(it.loan.id, intervals))


@loan.command()
def default(loan_id: LoanId, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Mark a default, as the lender or the servicer, once the policy's days are over.

    It costs the borrower nothing, and ends when the instalment is paid.

    \b
    Example:
      duly loan default 0x3f2a
    """
    _send(loan_id, rpc, yes, json, lambda ledger, it: ledger.mark_default(it.loan.id))


@loan.command()
def dispute(loan_id: LoanId, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Say that what is asked for is not all owed: no reminders until the policy's days after the answer.

    As the borrower, or as lender or servicer on the borrower's word.

    \b
    Example:
      duly loan dispute 0x3f2a
    """
    _lodge(loan_id, rpc, yes, json, Grievance.DISPUTE)


@loan.command()
def hardship(loan_id: LoanId, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Say that paying is not possible at the moment: no reminders until the policy's days after the answer.

    As the borrower, or as lender or servicer on the borrower's word. The lender can answer with other terms
    (`duly loan defer`, an amendment).

    \b
    Example:
      duly loan hardship 0x3f2a
    """
    _lodge(loan_id, rpc, yes, json, Grievance.HARDSHIP)


@loan.command()
def represented(loan_id: LoanId, rpc: Rpc = None, yes: Yes = False, json: Json = False) -> None:
    """Say that somebody speaks for the borrower, not who: no reminders until the borrower withdraws it.

    As the borrower, or as lender or servicer on the borrower's word.

    \b
    Example:
      duly loan represented 0x3f2a
    """
    _lodge(loan_id, rpc, yes, json, Grievance.REPRESENTATION)


@loan.command()
def withdraw(
    loan_id: LoanId,
    grievance: Annotated[
        str, typer.Argument(metavar="GRIEVANCE", help=f"One of {', '.join(_GRIEVANCES)}.", show_default=False)
    ],
    rpc: Rpc = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take a dispute, hardship or representation back, as the borrower. It may be lodged again at any time.

    \b
    Example:
      duly loan withdraw 0x3f2a hardship
    """
    if grievance not in _GRIEVANCES:
        raise InvalidInput(f"{grievance!r} is no grievance", wanted=", ".join(_GRIEVANCES))
    with _Acting(loan_id, rpc, yes, json) as it:
        it.tell(it.party.do(it.app.contracts.desk.withdraw(it.loan.id, _GRIEVANCES[grievance])))


@loan.command()
def notify(
    loan_id: LoanId,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help=f"One of {', '.join(_KINDS)}.", show_default=False)
    ],
    outcome: Annotated[
        str | None,
        typer.Option(
            metavar="OUTCOME",
            help="Of an answer: corrected or confirmed for a dispute, offer or no-offer for hardship.",
        ),
    ] = None,
    rpc: Rpc = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Serve a notice of some kind about a loan, as its lender or servicer; `duly deliver` sends it.

    For what needs a person's decision, such as the answer to a dispute or to hardship: reminders rest for the
    policy's days after it. The gate lets through what is so; what cannot be said now is told with the reason.

    \b
    Examples:
      duly loan notify 0x3f2a dispute-answered --outcome corrected
      duly loan notify 0x3f2a arrears
    """
    from duly.interfaces.cli import serve
    from duly.services.plan import OUTCOMES, plan_one
    from duly.services.run import reach_of

    if kind not in _KINDS:
        raise InvalidInput(f"{kind!r} is no kind of notice", wanted=", ".join(_KINDS))
    chosen = _KINDS[kind]
    outcomes = [found.replace("_", "-") for found in OUTCOMES.get(chosen, ())]
    if (outcome or "") not in (outcomes or [""]):
        wanted = f"--outcome {' or '.join(outcomes)}" if outcomes else "no --outcome: it is no answer"
        raise InvalidInput(f"{kind} with the outcome {outcome!r}", wanted=wanted)
    with _Acting(loan_id, rpc, yes, json) as it:
        candidate = it.app.read_model.candidate(it.loan.id)
        assert candidate is not None  # the loan was found
        result = (outcome or "").replace("-", "_")
        borrower = it.loan.terms.borrower
        channels = reach_of(it.app).of(borrower, it.app.vault.preferences_of(borrower))
        planned = plan_one(chosen, candidate, it.app.sender.address, it.now, result, channels)
        if planned is None or not planned.ready:
            why = reason(planned) if planned else "there is nothing of the kind to say"
            raise CannotBeSaid(f"{kind} cannot be said about this loan now: {why}")
        report = it.app.server.serve([planned], it.now)
        it.app.indexer.run()
        if json:
            print_json(report.as_json())
        else:
            console().print(serve.in_words(report), soft_wrap=True)


def _lodge(loan_id: str, rpc: str | None, yes: bool, json: bool, grievance: Grievance) -> None:
    with _Acting(loan_id, rpc, yes, json) as it:
        it.tell(it.party.do(it.app.contracts.desk.lodge(it.loan.id, grievance)))


def _send(
    loan_id: str, rpc: str | None, yes: bool, json: bool, call: "Callable[[LoanLedger, _Acting], Any]"
) -> None:
    with _Acting(loan_id, rpc, yes, json) as it:
        it.tell(it.party.do(call(it.app.contracts.ledger, it)))


class _Acting:
    """A loan as the chain has it now, somebody who is about to act on it, and who tells what came of it."""

    app: "Application"
    loan: "Loan"
    party: "Party"
    now: int

    def __init__(self, loan_id: str, rpc: str | None, yes: bool, json: bool) -> None:
        self._wanted, self._rpc, self._yes, self._json = loan_id, rpc, yes, json

    def __enter__(self) -> "_Acting":
        from duly.bootstrap import Application
        from duly.interfaces.cli.deploy import ask_passphrase
        from duly.services.lending import Party

        self.app = Application.from_environment(rpc=self._rpc, ask=ask_passphrase)
        try:
            self.app.indexer.run()
            self.loan = self.app.read_model.find_loan(self._wanted)
            self.now = self.app.clock.now()
            self.party = Party(self.app.contracts, self.app.sender)
            if not self.app.is_local and not self._yes:
                confirm("Send this transaction?")
        except BaseException:
            self.app.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()

    def units(self, text: str) -> int:
        """An amount in the currency's smallest unit."""
        return amount_of(text, self.app.deployment.currency.decimals)

    def tell(self, done: "Done") -> None:
        """What came of it."""
        tell(self.app, done, self.loan, self._json)


def tell(app: "Application", done: "Done", loan: "Loan | None", json: bool) -> None:
    """What came of a transaction, and of which loan's point of view; it is indexed as well."""
    app.indexer.run()
    receipt, currency = done.receipt, app.deployment.currency
    if json:
        print_json(
            {
                "transaction": "0x" + receipt.transaction.hex(),
                "block": receipt.block,
                "gas": receipt.gas_used,
                "events": [{"event": event.name} | look.event_json(event) for event in done.events],
            }
        )
        return
    out = console()
    for event in done.events:
        amount = look.amount_in(event)
        words = look.in_words(event, loan)
        told = "" if amount is None else f", {in_currency(amount, currency.decimals)} {currency.symbol}"
        out.print(f"{words.capitalize()}{told}.", soft_wrap=True)
    out.print(f"In block {receipt.block:,}, for {receipt.gas_used:,} gas.", style="dim")
