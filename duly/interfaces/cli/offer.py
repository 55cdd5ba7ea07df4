"""`duly offer`: what two parties send each other before the ledger does it: terms, amendments and assignments
with their signatures, in one document."""

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from duly.domain import amounts, calendar
from duly.domain.errors import InvalidFlows, InvalidInput
from duly.interfaces.cli import _terms, act, disclose, look, schedule
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._files import check_free, write
from duly.interfaces.cli._output import Json, confirm, console, print_json
from duly.interfaces.cli._terms import FrequencyName, ScheduleName
from duly.interfaces.cli.disclose import Language
from duly.interfaces.cli.plan import parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duly.bootstrap import Application
    from duly.chain.contracts import Call
    from duly.domain.loan import Loan
    from duly.domain.terms import Terms
    from duly.services.offer import Offer, Standing

_DAYS = 14
_NEVER = 253_402_000_000
"""Days before the year 10,000, where calendars end."""
_UNFUNDED = ("ERC20InsufficientAllowance", "ERC20InsufficientBalance")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})+", re.ASCII)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The offer.", show_default=False)]
Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="Write the offer here.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files.")]
Unsigned = Annotated[
    bool, typer.Option("--unsigned", help="Sign nothing, whosever key is at hand: a wallet will.")
]
Expires = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help=f"Until when it can be used: {_terms.EXPIRES_HELP} [default: in {_DAYS} days]",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

offer = typer.Typer(
    no_args_is_help=True,
    help="Exchange terms and signatures: offer a loan, an amendment or an assignment, sign, send.",
)


# ---------------------------------------------------------------------------------------- making one


@offer.command()
def loan(
    context: typer.Context,
    output: Output,
    borrower: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Who borrows.")] = None,
    principal: Annotated[str | None, _terms.PRINCIPAL] = None,
    rate: Annotated[str | None, _terms.RATE] = None,
    instalments: Annotated[int | None, _terms.INSTALMENTS] = None,
    first_due: Annotated[datetime | None, _terms.FIRST_DUE] = None,
    shape: _terms.ScheduleOption = ScheduleName.LEVEL,
    interval: _terms.FrequencyOption = FrequencyName.MONTHLY,
    origination_fee: _terms.OriginationFee = "0",
    late_fee: _terms.LateFee = "0",
    grace_days: _terms.GraceDays = None,
    lender: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Who lends. [default: the own key]", show_default=False),
    ] = None,
    expires: Expires = None,
    calendar_offset: _terms.CalendarOffset = "+00:00",
    salt: _terms.Salt = _terms.NO_SALT,
    policy: Annotated[
        str | None,
        typer.Option(help="Policy whose limits bind the loan, by its name; by default the first published."),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="In place of the options above: terms with their statement's hash, as `duly disclose "
            "--out-terms` wrote them.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the key-fact statement, whose hash is agreed on, here. [default: beside the offer, "
            "with the ending .html]",
            show_default=False,
        ),
    ] = None,
    opened: disclose.Opened = None,
    language: disclose.InLanguage = Language.EN,
    approve: Annotated[
        bool,
        typer.Option(
            "--approve",
            help="Let the ledger take, of the lender's money, what the borrower will receive: a transaction.",
        ),
    ] = False,
    unsigned: Unsigned = False,
    force: Force = False,
    yes: Yes = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Offer a loan: its terms, signed by the lender, and their key-fact statement.

    The borrower opens the loan with both (`duly offer send`), or signs them for somebody else to open it. The
    lender's money has to be approved for the ledger by then. Signing costs nothing.

    \b
    Example:
      duly offer loan --borrower 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --principal 10000 --rate 11.22 \\
        --instalments 36 --first-due 2027-01-31 --approve -o offer.json
      duly offer loan --terms terms.json -o offer.json
    """
    from duly.services import disclose as statements
    from duly.services import termsfile

    files = {"offer": output}
    if terms:
        given = frozenset({"output", "terms", "approve", "unsigned", "force", "yes", "rpc", "json"})
        disclose.refuse_beside(context, given, "--terms")
    else:
        files["statement"] = html or output.with_suffix(".html")
    check_free(files, force)
    with _Desk(rpc) as desk:
        content: dict[str, bytes] = {}
        if terms:
            found = termsfile.read(terms)
            if not any(found.agreement_hash):
                raise InvalidInput(
                    f"the terms in {terms} have no key-fact statement",
                    wanted="an agreementHash",
                    remedy="Have one written: `duly disclose --terms … --html … --out-terms …`.",
                )
        else:
            from duly.domain.disclosure import last_day_to_open

            if (
                borrower is None
                or principal is None
                or rate is None
                or instalments is None
                or first_due is None
            ):
                raise InvalidInput(
                    "the loan's terms are incomplete",
                    wanted="--borrower, --principal, --rate, --instalments and --first-due; or --terms FILE",
                )
            source = disclose.Source(policy, app=desk.app)
            number = source.number(None)
            symbol, decimals = source.currency(None, None)
            limits, contact = source.limits(number)
            found = disclose.terms_of(
                limits,
                number,
                decimals,
                principal=principal,
                rate=rate,
                instalments=instalments,
                first_due=first_due,
                shape=shape,
                interval=interval,
                origination_fee=origination_fee,
                lender=lender or desk.app.account.address,
                borrower=borrower,
                late_fee=late_fee,
                grace_days=grace_days,
                expires=expires or desk.in_some_days(_terms.offset_of(calendar_offset)),
                calendar_offset=calendar_offset,
                salt=salt,
            )
            day = _terms.day_of(opened) if opened else last_day_to_open(found)
            basis = statements.Basis(
                lending=limits, contact=contact, opened=day, symbol=symbol, decimals=decimals
            )
            statement = statements.disclose(found, basis, language)
            found = statement.agreed_by(found)
            content["statement"] = statement.html
        made = desk.signed(desk.offer_of(found), unsigned)
        if approve:
            desk.approve(found, yes)
        desk.write(made, files, content, json)


@offer.command()
def amendment(
    loan_id: act.LoanId,
    output: Output,
    principal: Annotated[
        str | None,
        typer.Option(
            help="What is owed from then on, late fees apart. [default: all that settling costs now]",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Nominal rate in per cent a year, never higher.")] = None,
    instalments: Annotated[
        int | None, typer.Option(help="Their number. [default: as many as are left]", show_default=False)
    ] = None,
    first_due: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Day on which the first is due. [default: the next due day that lies an interval ahead]",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[ScheduleName | None, typer.Option("--schedule", help="Another schedule.")] = None,
    interval: Annotated[
        FrequencyName | None, typer.Option("--frequency", help="How often one is due; with --instalments.")
    ] = None,
    late_fee: Annotated[
        str | None,
        typer.Option(
            help="Another late fee. [default: the loan's, or what the policy allows where that is less]",
            show_default=False,
        ),
    ] = None,
    grace_days: Annotated[int | None, typer.Option(help="Days after a due day before its late fee.")] = None,
    expires: Expires = None,
    salt: _terms.Salt = _terms.NO_SALT,
    unsigned: Unsigned = False,
    force: Force = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Offer other terms for a loan: longer, cheaper, on other days. Lender or borrower may.

    What is not named stays as it is. It is signed with the own key; once both have signed, anyone sends it.
    No money moves: what is owed goes on under the new terms, late fees beside it.

    \b
    Example:
      duly offer amendment 0x3f2a --instalments 48 --rate 9.5 -o amendment.json
      duly offer amendment 0x3f2a --schedule interest-only --first-due 2027-09-30 -o amendment.json
    """
    from duly.domain import amending
    from duly.services import offer as service

    check_free({"offer": output}, force)
    with _Desk(rpc) as desk:
        found, limits = desk.find(loan_id)
        decimals, offset = desk.app.deployment.currency.decimals, found.terms.calendar_offset
        changes = service.Changes(
            principal=None if principal is None else amounts.amount_of(principal, decimals),
            rate=None if rate is None else amounts.rate_of(rate),
            instalments=instalments,
            first_due=None if first_due is None else _terms.day_of(first_due),
            schedule=shape.schedule if shape else None,
            frequency=interval.frequency if interval else None,
            late_fee=None if late_fee is None else amounts.to_units(amounts.decimal(late_fee), decimals),
            grace_days=grace_days,
        )
        until = _terms.expires_of(expires or desk.in_some_days(offset), offset)
        terms = service.amendment(found, changes, limits, desk.now, until, _terms.salt_of(salt))
        made = desk.offer_of(terms)
        # What the ledger would not take is not worth a signature.
        amending.amend(found, terms, limits, desk.now, lambda _: made.id)
        desk.write(desk.signed(made, unsigned), {"offer": output}, {}, json)


@offer.command()
def assignment(
    loan_id: act.LoanId,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="The new lender.", show_default=False)],
    output: Output,
    expires: Expires = None,
    unsigned: Unsigned = False,
    force: Force = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Offer a loan to another lender, who has to sign and is bound by the same terms.

    It is signed at once where the own key is the new lender's. The lender sends it.

    \b
    Example:
      duly offer assignment 0x3f2a --to 0x90F79bf6EB2c4f870365E785982E1f101E93b906 -o assignment.json
    """
    from duly.chain.offers import Assignment
    from duly.domain import schedule as maths

    check_free({"offer": output}, force)
    new = parse_address(to)
    with _Desk(rpc) as desk:
        found, _ = desk.find(loan_id)
        maths.check_owed(found)
        if new in (found.lender, found.terms.borrower):
            who = "lender" if new == found.lender else "borrower"
            raise InvalidInput(f"{to} is the loan's {who}", wanted="the address of another lender")
        offset = found.terms.calendar_offset
        until = _terms.expires_of(expires or desk.in_some_days(offset), offset)
        nonce = desk.app.contracts.ledger.nonce_of(new)
        made = desk.offer_of(Assignment(found.id, found.lender, new, nonce, until))
        mine = not unsigned and desk.has_key_of(made)
        desk.write(desk.signed(made, not mine), {"offer": output}, {}, json)


# ---------------------------------------------------------------------------------------- and then


@offer.command()
def show(file: File, rpc: Rpc = None, json: Json = False) -> None:
    """Show what an offer says, who has signed it, and whether the ledger would take it now.

    In JSON amounts are integers in the smallest unit, times UTC seconds; `typed_data` is what a wallet signs
    (eth_signTypedData_v4), for `duly offer sign --signature`.

    \b
    Example:
      duly offer show offer.json
    """
    found = _read(file)
    with _Desk(rpc) as desk:
        desk.check(found)
        desk.show(found, file, json)


@offer.command()
def sign(
    file: File,
    signature: Annotated[
        str | None,
        typer.Option(
            metavar="0x…", help="Add this signature, which a wallet made, instead of one by the own key."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write here instead of into FILE.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
    force: Force = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Sign an offer with the own key, after having read it. It binds until it expires or is withdrawn.

    A borrower need not sign a loan that they open themselves.

    \b
    Example:
      duly offer sign amendment.json
      duly offer sign amendment.json --signature 0x5d99…1c
    """
    from duly.services import offer as service

    if output:
        check_free({"offer": output}, force)
    given = None
    if signature is not None:
        if not _HEX.fullmatch(signature):
            raise InvalidInput(
                f"{amounts.shown(signature)} is no signature", wanted="0x and hexadecimal digits"
            )
        given = bytes.fromhex(signature[2:])
    found = _read(file)
    with _Desk(rpc) as desk:
        desk.check(found)
        service.check_signatures(desk.app.contracts, found)
        desk.check_not_over(found)
        if given is not None:
            signed, role = service.signed_elsewhere(desk.app.contracts, found, given)
        else:
            role = found.role_of(desk.app.account.address.lower())
            if not yes:
                desk.show(found, file)
                confirm(
                    f"Sign this as the {role.in_words}?",
                    otherwise="nothing was signed",
                    why="a signature binds",
                )
            signed = found.signed_with(desk.app.account)
        write(output or file, service.text_of(signed).encode())
        if json:
            print_json({"signed_by": role.value, "address": found.signers[role], "file": str(output or file)})
        else:
            out = console()
            out.print(f"Signed by the {role.in_words}, {look.checksummed(found.signers[role])}.")
            out.print(f"wrote {output or file}", soft_wrap=True)
            out.print(desk.next_step(signed, output or file), soft_wrap=True)


@offer.command()
def send(file: File, rpc: Rpc = None, yes: act.Yes = False, json: Json = False) -> None:
    """Send an offer to the ledger: open the loan, amend it, assign it.

    The borrower opens a loan, or anyone whom they signed it for; anyone sends an amendment; the lender sends
    an assignment.

    \b
    Example:
      duly offer send offer.json
    """
    from duly.services import offer as service

    found = _read(file)
    with _Desk(rpc) as desk:
        desk.check(found)
        service.check_signatures(desk.app.contracts, found)
        call = service.call_of(desk.app.contracts, found, desk.app.account.address.lower())
        desk.send(found, call, yes, json)


@offer.command()
def cancel(file: File, rpc: Rpc = None, yes: act.Yes = False, json: Json = False) -> None:
    """Withdraw an offer or an amendment before it is used, as lender or borrower: nobody can use it any more.

    An assignment needs no withdrawal: the lender alone can send it.

    \b
    Example:
      duly offer cancel offer.json
    """
    from duly.services import offer as service

    found = _read(file)
    with _Desk(rpc) as desk:
        desk.check(found)
        call = service.cancelling(desk.app.contracts, found, desk.app.account.address.lower())
        desk.send(found, call, yes, json)


def _read(path: Path) -> "Offer":
    from duly.services.offer import read

    return read(path)


class _Desk:
    """Where offers are made, read and sent: one deployment, the own key, now."""

    app: "Application"
    now: int

    def __init__(self, rpc: str | None) -> None:
        self._rpc = rpc

    def __enter__(self) -> "_Desk":
        from duly.bootstrap import Application
        from duly.interfaces.cli.deploy import ask_passphrase

        self.app = Application.from_environment(rpc=self._rpc, ask=ask_passphrase)
        try:
            _ = self.app.contracts
            self.now = self.app.clock.now()
        except BaseException:
            self.app.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()

    # ------------------------------------------------------------------------------------ making

    def in_some_days(self, offset: int) -> str:
        """The day on which an offer ends of which nothing else is said."""
        return calendar.iso(calendar.local_day(self.now, offset) + _DAYS)

    def find(self, wanted: str) -> "tuple[Loan, Any]":
        """A loan by the beginning of its id, as the chain has it now, and its policy's limits."""
        self.app.indexer.run()
        contracts = self.app.contracts
        indexed = self.app.read_model.find_loan(wanted)
        found = contracts.ledger.loan_of(indexed.id, indexed.terms)
        return found, contracts.policy_book.lending_of(found.terms.policy)

    def offer_of(self, subject: Any) -> "Offer":
        """An unsigned offer of this."""
        from duly.chain.offers import SigningDomain
        from duly.services.offer import Offer

        return Offer(SigningDomain(self.app.chain_id, self.app.contracts.ledger.address), subject)

    def has_key_of(self, found: "Offer") -> bool:
        """The own key is that of somebody who signs this."""
        from duly.chain.errors import KeyRefused

        try:
            return self.app.account.address.lower() in found.signers.values()
        except KeyRefused:
            return False

    def signed(self, made: "Offer", unsigned: bool) -> "Offer":
        """Signed with the own key, unless it shall not be."""
        return made if unsigned else made.signed_with(self.app.account)

    def approve(self, terms: "Terms", yes: bool) -> None:
        """Let the ledger take from the lender what the borrower will receive."""
        from duly.services.importing import lend_from
        from duly.services.offer import NotAParty

        if self.app.sender.address != terms.lender:
            raise NotAParty(
                "the key is not the lender's, whose money it is", wanted="the lender's key, or no --approve"
            )
        if not self.app.is_local and not yes:
            confirm("Send the approval of the lender's money?")
        deployment = self.app.deployment
        lend_from(self.app.contracts, self.app.sender, terms.received, can_mint=deployment.has_test_currency)

    def write(
        self, made: "Offer", files: "Mapping[str, Path]", content: "Mapping[str, bytes]", json: bool
    ) -> None:
        """Write an offer and what belongs to it, and show it."""
        from duly.services.offer import text_of

        for name, path in files.items():
            if name in content:
                write(path, content[name])
        write(files["offer"], text_of(made).encode())
        if json:
            told = {name: str(path) for name, path in files.items()}
            print_json({"files": told, **self._as_json(made)})
            return
        self.show(made, files["offer"])
        for path in files.values():
            console().print(f"wrote {path}", soft_wrap=True)

    # ------------------------------------------------------------------------------------ reading

    def check(self, found: "Offer") -> None:
        """Refuse an offer for another ledger."""
        from duly.services.offer import check_place

        check_place(found, self.app.contracts)

    def send(self, found: "Offer", call: "Call", yes: bool, json: bool) -> None:
        """Send what is to be done about an offer, and tell what came of it."""
        from duly.services.lending import Party

        if not self.app.is_local and not yes:
            confirm("Send this transaction?")
        done = Party(self.app.contracts, self.app.sender).do(call)
        act.tell(self.app, done, self._loan_of(found), json)
        if not json and call.what != "LoanLedger.cancelOffer":
            console().print(f"See it: duly loan {found.id.hex()[:8]}", style="dim")

    def _loan_of(self, found: "Offer") -> "Loan | None":
        """The loan that an offer changes, as the chain has it now."""
        from duly.services.offer import Kind

        if found.kind is Kind.LOAN:
            return None
        wanted = found.id if found.kind is Kind.ASSIGNMENT else getattr(found.subject, "replaces", b"")
        self.app.indexer.run()
        indexed = self.app.read_model.loan(wanted)
        return self.app.contracts.ledger.loan_of(wanted, indexed.terms) if indexed else None

    def show(self, found: "Offer", file: Path, json: bool = False) -> None:
        """What it says, who signed, and what the ledger would do."""
        if json:
            print_json(self._as_json(found))
            return
        self._shown(found).print(file)

    def next_step(self, found: "Offer", file: Path) -> str:
        """What to do with it now, in words."""
        return in_words(found, self._shown(found).standing, file)

    def check_not_over(self, found: "Offer") -> None:
        """Refuse to sign what nobody can use any more."""
        from duly.services.offer import Over, State

        standing = self._shown(found).standing
        if standing.state in (State.USED, State.CANCELLED, State.EXPIRED):
            raise Over(f"there is nothing to sign: the offer is {standing.state}")

    def _shown(self, found: "Offer") -> "_Shown":
        from duly.services.offer import standing

        replaced = self._loan_of(found)
        stands = standing(self.app.contracts, found, replaced, self.now)
        return _Shown(self.app, found, replaced, stands, self.now)

    def _as_json(self, found: "Offer") -> dict[str, Any]:
        return self._shown(found).as_json()


# ---------------------------------------------------------------------------------------- showing


def in_words(found: "Offer", standing: "Standing", file: Path) -> str:
    """How an offer stands, and what to do with it now."""
    from duly.services.offer import Kind, Role, State

    match standing.state:
        case State.READY:
            sender = {
                Kind.LOAN: "anyone" if Role.BORROWER in found.signatures else "the borrower",
                Kind.AMENDMENT: "anyone",
                Kind.ASSIGNMENT: "the lender",
            }[found.kind]
            return f"The ledger would take it now. To be sent by {sender}: duly offer send {file}"
        case State.UNSIGNED:
            who = " and ".join(f"the {role.in_words}" for role in found.missing)
            have = "have" if len(found.missing) > 1 else "has"
            return f"Nothing is wrong with it, but {who} {have} to sign: duly offer sign {file}"
        case State.INVALID:
            return f"Not good: {standing.refusal}"
        case State.USED:
            return "It was used already."
        case State.CANCELLED:
            return "It was withdrawn: nobody can use it any more."
        case State.EXPIRED:
            return "It expired: nobody can use it any more."
        case _:
            refused = f"The ledger would refuse it: {_reason(standing)}"
            if getattr(standing.refusal, "name", "") in _UNFUNDED:
                refused += (
                    ".\nThe lender's money is missing: have the lender hold it and approve it for the ledger "
                    "(`duly offer loan … --approve`)."
                )
            return refused


def _reason(standing: "Standing") -> str | None:
    reason = getattr(standing.refusal, "reason", None) or standing.refusal
    return str(reason) if reason else None


class _Shown:
    """An offer for people, and for programs."""

    def __init__(
        self, app: "Application", found: "Offer", replaced: "Loan | None", standing: "Standing", now: int
    ) -> None:
        self.standing = standing
        self._offer, self._replaced, self._now = found, replaced, now
        self._currency = app.deployment.currency

    def print(self, file: Path) -> None:
        from rich.table import Table

        from duly.services.offer import Kind, State

        found, standing = self._offer, self.standing
        out = console()
        title = {
            Kind.LOAN: "Offer of a loan",
            Kind.AMENDMENT: "Other terms for a loan",
            Kind.ASSIGNMENT: "Assignment of a loan to another lender",
        }[found.kind]
        out.print(title, style="bold")
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in self._rows(file):
            grid.add_row(name, value)
        out.print(grid)
        if found.kind is Kind.AMENDMENT:
            self._print_comparison()
        if found.kind is not Kind.ASSIGNMENT:
            terms = self._terms
            rows = self._schedule(terms)
            total = sum(row.amount for row in rows)
            out.print(schedule.table_of(rows, terms.principal, total, self._currency.decimals))
        style = {State.READY: "green", State.UNSIGNED: "yellow"}.get(standing.state, "red")
        out.print(in_words(found, standing, file), style=style, soft_wrap=True)

    @property
    def _terms(self) -> "Terms":
        from duly.domain.terms import Terms

        assert isinstance(self._offer.subject, Terms)
        return self._offer.subject

    @staticmethod
    def _schedule(terms: "Terms") -> Any:
        from duly.domain.schedule import schedule_of

        return list(schedule_of(terms))

    def _money(self, units: int) -> str:
        return f"{amounts.in_currency(units, self._currency.decimals)} {self._currency.symbol}"

    def _rows(self, file: Path) -> list[tuple[str, str]]:
        from duly.chain.networks import chain_name
        from duly.domain import schedule as maths
        from duly.services.offer import Kind

        found = self._offer
        rows = [("loan", f"0x{found.id.hex()}")]
        offset = 0
        if found.kind is Kind.ASSIGNMENT:
            loan = self._replaced
            if loan is not None:
                offset = loan.terms.calendar_offset
                rows += [
                    ("borrower", look.checksummed(loan.terms.borrower)),
                    ("still owed", self._money(maths.assess(loan, self._now).owed)),
                ]
            rows += [
                ("from", look.checksummed(getattr(found.subject, "lender", ""))),
                *self._signers(),
            ]
        else:
            terms = self._terms
            offset = terms.calendar_offset
            if any(terms.replaces):
                rows.append(("replaces", f"0x{terms.replaces.hex()}"))
            rows += self._signers()
            how = schedule.in_words(terms.schedule, terms.frequency, terms.instalments)
            lent = f"{self._money(terms.principal)} at {amounts.in_percent(terms.rate)} {how}"
            if terms.origination_fee:
                lent += f"; {self._money(terms.received)} paid out, {self._money(terms.origination_fee)} kept"
            rows.append(("terms", lent))
            if found.kind is Kind.LOAN:
                rows.append(("costs", self._cost(terms)))
            fee = f"{self._money(terms.late_fee)} after {terms.grace_days} days" if terms.late_fee else "none"
            rows += [("late fee", fee), ("policy", str(terms.policy))]
            if any(terms.agreement_hash):
                rows.append(("statement", f"0x{terms.agreement_hash.hex()}"))
                rows.append(("", f"(to check it: duly disclose --verify STATEMENT.html --terms {file})"))
        rows += [
            ("expires", _until(found.expires, offset)),
            ("ledger", f"{look.checksummed(found.ledger.contract)} on {chain_name(found.ledger.chain_id)}"),
        ]
        return rows

    def _signers(self) -> list[tuple[str, str]]:
        from duly.services.offer import Kind, Role

        rows = []
        for role, address in self._offer.signers.items():
            if role in self.standing.fits:
                state = "signed" if self.standing.fits[role] else "SIGNATURE DOES NOT FIT"
            elif self._offer.kind is Kind.LOAN and role is Role.BORROWER:
                state = "opens it, or signs for somebody to open it"
            else:
                state = "has to sign"
            rows.append((role.in_words, f"{look.checksummed(address)}  {state}"))
        return rows

    def _cost(self, terms: "Terms") -> str:
        from duly.domain import apr
        from duly.domain.disclosure import last_day_to_open

        day = last_day_to_open(terms)
        rows = self._schedule(terms)
        try:
            cost = apr.of_schedule(day, terms.received, [(row.due_day, row.amount) for row in rows])
        except InvalidFlows:
            return f"{self._money(sum(row.amount for row in rows) - terms.received)} in all"
        return (
            f"{self._money(cost.finance_charge)} in all, APR {apr.rounded(cost.apr)} %, APRC "
            f"{apr.rounded(cost.aprc)} %, when opened on {calendar.iso(day)}"
        )

    # ------------------------------------------------------------------------------------ old and new

    def _sides(self) -> "tuple[dict[str, Any], dict[str, Any]] | None":
        """How the loan goes on as it is, and how by the amendment; None where nothing is owed on it."""
        from duly.domain import schedule as maths
        from duly.services import offer as service

        old, terms = self._replaced, self._terms
        if old is None or not old.owed:
            return None
        way = service.going(old, self._now)
        rows, new_rows = self._schedule(old.terms), self._schedule(terms)
        following = next((row for row in rows if row.k > way.k), rows[-1])
        before = {
            "principal": way.payoff - way.fees,
            "rate_ppm": old.terms.rate,
            "instalment": following.amount,
            "instalments": way.left,
            "next_due": following.due_day,
            "last_due": maths.due_day(old.terms, old.terms.instalments),
            "schedule": old.terms,
            "late_fee": old.terms.late_fee,
            "grace_days": old.terms.grace_days,
            "late_fees_unpaid": way.fees,
            "still_to_pay": way.owed,
        }
        after = {
            "principal": terms.principal,
            "rate_ppm": terms.rate,
            "instalment": new_rows[0].amount,
            "instalments": terms.instalments,
            "next_due": new_rows[0].due_day,
            "last_due": new_rows[-1].due_day,
            "schedule": terms,
            "late_fee": terms.late_fee,
            "grace_days": terms.grace_days,
            "late_fees_unpaid": way.fees,
            "still_to_pay": sum(row.amount for row in new_rows) + way.fees,
        }
        return before, after

    def _print_comparison(self) -> None:
        sides = self._sides()
        if sides is None:
            return
        before, after = sides

        def money(units: int) -> str:
            return amounts.in_currency(units, self._currency.decimals)

        def shape(terms: "Terms") -> str:
            return f"{FrequencyName[terms.frequency.name]}, {ScheduleName[terms.schedule.name]}"

        table = look.table_of("", "+as it is", "+by this", "+difference")
        for key, name, tell in (
            ("principal", "settling now, and the new principal", money),
            ("rate_ppm", "rate", amounts.in_percent),
            ("schedule", "schedule", shape),
            ("instalment", "instalment", money),
            ("instalments", "instalments left", str),
            ("next_due", "next due day", calendar.iso),
            ("last_due", "last due day", calendar.iso),
            ("late_fee", "late fee", money),
            ("grace_days", "days of grace", str),
            ("late_fees_unpaid", "late fees unpaid", money),
            ("still_to_pay", "still to pay in all", money),
        ):
            old, new = before[key], after[key]
            if key == "late_fees_unpaid" and not old:
                continue
            difference = ""
            if tell is money and old != new:
                difference = ("+" if new > old else "") + money(new - old)
            changed = tell(old) != tell(new)
            table.add_row(name, tell(old), tell(new), difference, style="bold" if changed else "dim")
        console().print(table)
        console().print(f"Amounts in {self._currency.symbol}, as of {look.at_clock(self._now)}.", style="dim")

    # ------------------------------------------------------------------------------------ for programs

    def as_json(self) -> dict[str, Any]:
        """Everything, and what wallets sign."""
        from duly.services import termsfile
        from duly.services.offer import Kind, State

        found, standing = self._offer, self.standing
        told: dict[str, Any] = {
            "kind": found.kind.value,
            "id": f"0x{found.id.hex()}",
            "chain_id": found.ledger.chain_id,
            "ledger": look.checksummed(found.ledger.contract),
            "expires": found.expires,
            "state": standing.state.value,
            "acceptable": standing.state is State.READY,
            "refusal": getattr(standing.refusal, "name", None) or _kind_of(standing.refusal),
            "reason": _reason(standing),
            "parties": [
                {
                    "role": role.value,
                    "address": look.checksummed(address),
                    "required": role in found.missing or role in found.signatures,
                    "signed": role in found.signatures,
                    "fits": standing.fits.get(role),
                    "typed_data": found.typed_data(role),
                }
                for role, address in found.signers.items()
            ],
            "currency": self._currency.symbol,
            "decimals": self._currency.decimals,
        }
        if found.kind is Kind.ASSIGNMENT:
            told["assignment"] = found.typed_data(next(iter(found.signers)))["message"]
            return told
        told["terms"] = termsfile.as_json(self._terms)
        told["rows"] = [
            {
                "k": row.k,
                "due": calendar.iso(row.due_day),
                "amount": row.amount,
                "interest": row.interest,
                "principal": row.principal,
                "balance": row.balance,
            }
            for row in self._schedule(self._terms)
        ]
        if found.kind is Kind.AMENDMENT and (sides := self._sides()):
            told["before"], told["after"] = (_side_json(side) for side in sides)
        return told


def _until(moment: int, offset: int) -> str:
    return look.at_clock(moment, offset) if moment < _NEVER else "never"


def _kind_of(error: Exception | None) -> str | None:
    return type(error).__name__ if error else None


def _side_json(side: "Mapping[str, Any]") -> dict[str, Any]:
    terms = side["schedule"]
    return {
        **side,
        "next_due": calendar.iso(side["next_due"]),
        "last_due": calendar.iso(side["last_due"]),
        "schedule": ScheduleName[terms.schedule.name],
        "frequency": FrequencyName[terms.frequency.name],
    }
