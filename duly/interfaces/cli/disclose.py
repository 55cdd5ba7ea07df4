"""`duly disclose`: what a borrower is shown before accepting a loan, and whether it is what was agreed on."""

from collections.abc import Set
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain import amounts, calendar
from duly.domain.errors import InvalidInput
from duly.interfaces.cli import _terms
from duly.interfaces.cli._files import check_free, write
from duly.interfaces.cli._output import FAILED, Json, console, print_json
from duly.interfaces.cli._terms import FrequencyName, ScheduleName
from duly.interfaces.cli.plan import parse_address

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.domain.policy import ContactLimits, LendingLimits
    from duly.domain.terms import Terms
    from duly.services.disclose import Basis

_DECIMALS = 2

# Options that go with a file of terms; all others tell terms.
_BESIDE_VERIFY = frozenset({"verify", "terms", "policy", "rpc", "json"})
_BESIDE_TERMS = _BESIDE_VERIFY | {
    "symbol", "decimals", "opened", "language", "html", "pdf", "out_terms", "force"
}  # fmt: skip


class Language(StrEnum):
    """What a statement is written in."""

    EN = "en"
    ZH = "zh"


Opened = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        metavar="YYYY-MM-DD",
        help="Day of opening that annual rates and the right to rescind are told for; by default the "
        "last on which the offer can be accepted.",
    ),
]
InLanguage = Annotated[
    Language, typer.Option("--lang", help="Language of the statement: English, Simplified Chinese.")
]


def disclose(
    context: typer.Context,
    principal: Annotated[str | None, _terms.PRINCIPAL] = None,
    rate: Annotated[str | None, _terms.RATE] = None,
    instalments: Annotated[int | None, _terms.INSTALMENTS] = None,
    first_due: Annotated[datetime | None, _terms.FIRST_DUE] = None,
    shape: _terms.ScheduleOption = ScheduleName.LEVEL,
    interval: _terms.FrequencyOption = FrequencyName.MONTHLY,
    origination_fee: _terms.OriginationFee = "0",
    lender: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Who lends.")] = None,
    borrower: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Who borrows.")] = None,
    late_fee: _terms.LateFee = "0",
    grace_days: _terms.GraceDays = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"Until when the offer can be accepted: {_terms.EXPIRES_HELP}"),
    ] = None,
    calendar_offset: _terms.CalendarOffset = "+00:00",
    salt: _terms.Salt = _terms.NO_SALT,
    terms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="In place of the options above: the terms, as --out-terms or `duly offer` wrote them.",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Policy whose limits bind the loan: a pack's name or a TOML file of your own (strict by "
            "default); with --rpc the name of one that is published there (by default the first)."
        ),
    ] = None,
    policy_number: Annotated[
        int | None, typer.Option(help="Its number, as `duly deploy` printed it; not needed with --rpc.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(help="The currency's symbol, such as USDC; not needed with --rpc.")
    ] = None,
    decimals: Annotated[
        int | None,
        typer.Option(min=0, max=26, help="Decimals of the currency, 2 by default; not needed with --rpc."),
    ] = None,
    opened: Opened = None,
    language: InLanguage = Language.EN,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the statement: its hash is what is agreed on.")
    ] = None,
    pdf: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a copy of it on pages.")] = None,
    out_terms: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the terms with the statement's hash, to be signed."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="DOCUMENT",
            help="Check a statement against --terms instead; exit code 1 where it is another. With --policy "
            "or --rpc, its limits and currency too.",
        ),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", "--network", help="Node of the deployment that policy and currency are read from."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write the key-fact statement that a borrower is shown before accepting a loan, and print its hash.

    It is rendered from the terms alone, their policy's limits and an assumed day of opening: the same bytes
    wherever and whenever. The Keccak-256 hash of the HTML is the terms' agreementHash, and so part of the
    loan's id. In JSON all amounts are integers in the smallest unit.

    \b
    Example:
      duly disclose --principal 10000 --rate 11.22 --instalments 36 --first-due 2027-01-31 \\
        --lender 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 \\
        --borrower 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC \\
        --late-fee 10 --expires 2026-12-30 --policy strict --policy-number 1 --symbol USDC \\
        --html statement.html --pdf statement.pdf --out-terms terms.json
      duly disclose --verify statement.html --terms terms.json
    """
    if terms:
        refuse_beside(context, _BESIDE_TERMS, "--terms")
    if verify:
        if terms is None:
            raise InvalidInput(
                "there are no terms to check the statement against", wanted="--terms FILE.json"
            )
        refuse_beside(context, _BESIDE_VERIFY, "--verify")
        _verify(verify, terms, Source(policy, rpc) if policy or rpc else None, json)
        return
    if html is None and pdf is None:
        raise InvalidInput("there is nothing to write", wanted="--html FILE, --pdf FILE, or both")
    files = {name: path for name, path in (("html", html), ("pdf", pdf), ("terms", out_terms)) if path}
    check_free(files, force)

    from duly.domain.disclosure import last_day_to_open
    from duly.services import disclose as service
    from duly.services import termsfile

    source = Source(policy, rpc)
    symbol, decimals = source.currency(symbol, decimals)
    if terms:
        found = termsfile.read(terms)
        lending, contact = source.limits(found.policy)
    elif (
        principal is None
        or rate is None
        or instalments is None
        or first_due is None
        or lender is None
        or borrower is None
        or expires is None
    ):
        raise InvalidInput(
            "the loan's terms are incomplete",
            wanted="--principal, --rate, --instalments, --first-due, --lender, --borrower and --expires; "
            "or --terms FILE.json",
        )
    else:
        number = source.number(policy_number)
        lending, contact = source.limits(number)
        found = terms_of(
            lending,
            number,
            decimals,
            principal=principal,
            rate=rate,
            instalments=instalments,
            first_due=first_due,
            shape=shape,
            interval=interval,
            origination_fee=origination_fee,
            lender=lender,
            borrower=borrower,
            late_fee=late_fee,
            grace_days=grace_days,
            expires=expires,
            calendar_offset=calendar_offset,
            salt=salt,
        )
    day = _terms.day_of(opened) if opened else last_day_to_open(found)
    basis = service.Basis(lending=lending, contact=contact, opened=day, symbol=symbol, decimals=decimals)
    statement = service.disclose(found, basis, language)
    agreed = statement.agreed_by(found)
    contents = {"html": statement.html, "terms": termsfile.text_of(agreed).encode()}
    if pdf:
        contents["pdf"] = statement.pdf()
    for name, path in files.items():
        write(path, contents[name])
    if found.agreement_hash not in (bytes(32), agreed.agreement_hash):
        typer.echo("The terms that were given are agreed on with another statement.", err=True)

    if json:
        print_json(
            {
                "agreement_hash": "0x" + agreed.agreement_hash.hex(),
                "language": language,
                "opened": calendar.iso(day),
                "files": {name: str(path) for name, path in files.items()},
                "terms": termsfile.as_json(agreed),
            }
        )
    else:
        out = console()
        out.print(f"agreementHash 0x{agreed.agreement_hash.hex()}", soft_wrap=True)
        out.print(f"for opening on {calendar.iso(day)}, under policy {found.policy}")
        for path in files.values():
            out.print(f"wrote {path}", soft_wrap=True)


# ---------------------------------------------------------------------------------------- verifying


def _verify(document: Path, terms: Path, source: "Source | None", json: bool) -> None:
    """Say whether a document is the statement of terms, and exit with 1 where it is not."""
    from duly.services import disclose as service
    from duly.services import termsfile

    agreed = termsfile.read(terms)
    try:
        content = document.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{document} cannot be read: {error}") from None
    if content.startswith(b"%PDF"):
        raise InvalidInput(
            f"{document} is a PDF, a copy", wanted="the HTML, whose hash is what was agreed on"
        )
    verdict = service.verify(content, agreed)
    basis = None
    if source:
        basis = verdict.basis is not None and source.stands_behind(verdict.basis, agreed.policy)
    passed = verdict.agreed and verdict.rendered and basis is not False
    if json:
        print_json(
            {
                "passed": passed,
                "agreed": verdict.agreed,
                "rendered": verdict.rendered,
                "basis": basis,
                "difference": verdict.difference,
                "opened": calendar.iso(verdict.basis.opened) if verdict.basis else None,
            }
        )
    else:
        answers = {
            "its hash is the terms' agreementHash": verdict.agreed,
            "it says what the terms come to": verdict.rendered,
            "policy and currency are as it says": basis,
        }
        out = console()
        for question, answer in answers.items():
            out.print(f"{ {True: 'yes', False: 'NO', None: 'not asked'}[answer]:10}{question}")
        if verdict.difference:
            out.print(verdict.difference, soft_wrap=True)
    if not passed:
        raise typer.Exit(FAILED)


# ---------------------------------------------------------------------------------------- what is given


class Source:
    """Where the policy's limits and the currency come from: a pack, or the deployment of `rpc` or `app`."""

    def __init__(self, policy: str | None, rpc: str | None = None, app: "Application | None" = None) -> None:
        self._policy = policy
        self._app = app
        if rpc:
            from duly.bootstrap import Application

            self._app = Application.from_environment(rpc=rpc)

    def number(self, given: int | None) -> int:
        """The policy's, which terms name."""
        if self._app:
            published = self._app.deployment.policy(self._policy)
            if given not in (None, published):
                raise InvalidInput(f"policy {given} is another", wanted=f"{published}, or no --policy-number")
            return published
        if given is None:
            raise InvalidInput(
                "the policy's number is unknown",
                wanted="--policy-number N, as `duly deploy` printed it; or --rpc",
            )
        return given

    def limits(self, number: int) -> "tuple[LendingLimits, ContactLimits]":
        """What the policy says."""
        if self._app:
            book = self._app.contracts.policy_book
            return book.lending_of(number), book.contact_of(number)
        from duly.services.policy import find_pack

        pack = find_pack(self._policy or "strict")
        return pack.lending_limits, pack.contact_limits

    def stands_behind(self, basis: "Basis", number: int) -> bool:
        """Whether a statement rests on the policy's limits, and on the currency where that is known.

        Limits of contact may have become stricter since.
        """
        currency = self._app.deployment.currency if self._app else basis
        lending, _ = self.limits(number)
        return (basis.lending, basis.symbol, basis.decimals) == (lending, currency.symbol, currency.decimals)

    def currency(self, symbol: str | None, decimals: int | None) -> tuple[str, int]:
        """Its symbol and decimals."""
        if self._app:
            known = self._app.deployment.currency
            if symbol not in (None, known.symbol) or decimals not in (None, known.decimals):
                raise InvalidInput(
                    f"the deployment's currency is {known.symbol} with {known.decimals} decimals",
                    wanted="no --symbol and no --decimals beside --rpc",
                )
            return known.symbol, known.decimals
        if symbol is None:
            raise InvalidInput("the currency is unknown", wanted="--symbol, such as USDC; or --rpc")
        return symbol, _DECIMALS if decimals is None else decimals


def terms_of(
    lending: "LendingLimits",
    policy: int,
    decimals: int,
    *,
    principal: str,
    rate: str,
    instalments: int,
    first_due: datetime,
    shape: ScheduleName,
    interval: FrequencyName,
    origination_fee: str,
    lender: str,
    borrower: str,
    late_fee: str,
    grace_days: int | None,
    expires: str,
    calendar_offset: str,
    salt: str,
) -> "Terms":
    """The terms that options tell, under a policy's number and limits; amounts in a currency's units.

    Raises: InvalidInput.
    """
    from duly.domain.terms import Terms

    units = amounts.amount_of(principal, decimals)
    offset = _terms.offset_of(calendar_offset)
    return Terms(
        lender=parse_address(lender),
        borrower=parse_address(borrower),
        principal=units,
        origination_fee=_terms.origination_fee_of(origination_fee, units, decimals),
        late_fee=amounts.to_units(amounts.decimal(late_fee), decimals),
        rate=amounts.rate_of(rate),
        instalments=instalments,
        first_due=_terms.day_of(first_due),
        schedule=shape.schedule,
        frequency=interval.frequency,
        calendar_offset=offset,
        grace_days=lending.min_grace_days if grace_days is None else grace_days,
        policy=policy,
        expires=_terms.expires_of(expires, offset),
        salt=_terms.salt_of(salt),
    )


def refuse_beside(context: typer.Context, allowed: Set[str], beside: str) -> None:
    """Refuse options that mean nothing beside another."""
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE" and name not in allowed:
            raise InvalidInput(f"both {beside} and {option.opts[0]} are given", wanted="one of them")
