"""The read model: what the chain's events come to, in tables that can be asked.

Events, what follows from them, and the cursor are written in one transaction; a rollback leaves exactly what
reading the other branch from the start would have made.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import IntEnum
from itertools import chain, islice
from typing import Any, Final, TypeVar, get_type_hints

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
)

from duly.domain import calendar, schedule
from duly.domain.consent import Channel, Profile
from duly.domain.errors import InvalidInput
from duly.domain.events import (
    EVENTS,
    Block,
    Event,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
    LoanAmended,
    LoanAssigned,
    LoanDefaulted,
    Logged,
    NoticeRefused,
    NoticeServed,
    Repaid,
)
from duly.domain.grievance import NO_CASE, NO_REST, Case, Grievance, Rest
from duly.domain.loan import Loan, Status
from duly.domain.notice import (
    AMENDED,
    COOLING_OFF_ENDS,
    NOTHING_SELDOM,
    OPENED,
    REPAID,
    Kind,
    Refusal,
    Said,
    SeldomSaid,
)
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.replay import Policy, State, apply_all, begins, subjects
from duly.domain.terms import ZERO_ADDRESS, ZERO_HASH, Frequency, Schedule, Terms
from duly.store import bulk, schema
from duly.store.database import DatabaseError, open_engine, reading, streamed, writing
from duly.store.migrations import SERVICE
from duly.store.webhooks import Place, take_back

_Item = TypeVar("_Item")

_IN_ONE_QUERY: Final = 500
_PARAMETERS: Final = 32_000
_REMEMBERED: Final = 50_000
_DAYS_ON_EARTH: Final = 2
"""It is this many days before the latest calendar day on Earth, at most, wherever somebody is."""
_LOOK_AHEAD: Final = 7
"""Days in which an instalment falls due of which it may be said that it is paid already."""


class NothingIndexed(DatabaseError):
    """The chain was not read into this database yet."""


class AnotherLedger(DatabaseError):
    """The database holds another chain or another ledger."""


class CursorMoved(DatabaseError):
    """Another program is reading the chain into the same database."""


class UnknownLoan(InvalidInput):
    """There is no such loan."""


class AmbiguousLoan(InvalidInput):
    """More than one loan's id begins like this."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which ledger on which chain: the chain's id and first block's hash, the ledger's address and the block
    from which it is read.
    """

    chain_id: int
    genesis: bytes
    ledger: str
    first_block: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Whose events the database holds, and up to which block."""

    identity: Identity
    block: Block


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loan that something may have to be said about, with all that a decision takes but the moment.

    `carried` is what was paid ahead on the loan that this one replaced. `servicer` is the zero address where
    the lender appointed none. `reminders` are the times of the borrower's last seven, newest first. `rest` is
    what the borrower's grievances that concern all loans come to; `dispute` and `hardship` are the loan's.
    `pack` is the hash of the policy's pack. `reminded_at` is when the borrower was last reminded of this
    loan, zero for never. `changes_told` is of how many changes of contact and consent the borrower knows,
    None before the first notice. The profile's nonce is not known here: 0.
    """

    loan: Loan
    carried: int
    servicer: str
    profile: Profile
    said: Said
    reminders: tuple[int, ...]
    limits: ContactLimits
    seldom_said: SeldomSaid
    cooling_off_days: int
    rest: Rest
    dispute: Case
    hardship: Case
    pack: bytes
    reminded_at: int
    changes_told: int | None


@dataclass(frozen=True, slots=True)
class ServedNotice:
    """A notice that the gate let through, and where on the chain it stands."""

    id: bytes
    block_number: int
    log_index: int
    timestamp: int
    transaction_hash: bytes
    loan: bytes
    server: str
    borrower: str
    kind: Kind
    instalment: int
    amount: int
    channel: Channel
    basis: int
    serial: int
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class RefusedNotice:
    """A notice of a batch that was skipped, and where on the chain that stands."""

    block_number: int
    log_index: int
    timestamp: int
    loan: bytes
    server: str
    kind: Kind
    instalment: int
    channel: Channel
    reason: Refusal
    actual: int
    required: int


OnServed = Callable[[Connection, Sequence[Logged]], None]
"""Is told of NoticeServed events in the transaction that records them."""


class ReadModel:
    """The tables, on an engine of `duly.store.database.open_engine`. `on_served`, where it is set, is told of
    the notices that the gate let through.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._on_sqlite = engine.dialect.name == "sqlite"
        self._ready = False
        self.on_served: OnServed | None = None
        # What was written last, as it stands at that block: saves reading it back. Another program that
        # wrote in between moved the cursor.
        self._state = State()
        self._numbers: dict[bytes, int] = {}
        self._state_at: Block | None = None

    @classmethod
    def open(cls, url: str) -> "ReadModel":
        """The read model in the database that the URL names.

        Raises: DatabaseError.
        """
        return cls(open_engine(url))

    # ------------------------------------------------------------------------------------ which chain

    def start(self, identity: Identity, before: Block) -> Cursor:
        """Make sure that the database holds this ledger's events; make the tables where there are none.

        before: the block before the ledger's first. Returns how far the chain was read.

        Raises: AnotherLedger, DatabaseTooNew, DatabaseError.
        """
        cursor = self.find_cursor()
        if cursor is None:
            SERVICE.prepare(self.engine)
            with writing(self.engine) as connection:
                if self._cursor(connection) is None:
                    self._write_first_cursor(connection, identity, before)
            self._ready = True
            cursor = self.cursor()
        self.check(identity)
        return cursor

    def check(self, identity: Identity) -> None:
        """Refuse to go on where the database holds another ledger's events.

        Raises: AnotherLedger, NothingIndexed.
        """
        found = self.cursor().identity
        differences = [
            f"{label} is {mine}, here it is {theirs}"
            for label, mine, theirs in (
                ("chain id", found.chain_id, identity.chain_id),
                ("ledger", found.ledger, identity.ledger),
                ("chain's first block", _short(found.genesis), _short(identity.genesis)),
            )
            if mine != theirs
        ]
        if differences:
            raise AnotherLedger(
                "the database was made from another chain or ledger: its " + "; its ".join(differences),
                remedy="Point DULY_DATABASE at another file, or delete this one: `duly index` makes it anew. "
                "A local chain that was started again is another chain.",
            )

    def cursor(self) -> Cursor:
        """How far which chain was read.

        Raises: NothingIndexed, DatabaseTooNew, DatabaseError.
        """
        cursor = self.find_cursor()
        if cursor is None:
            raise NothingIndexed(remedy="Run `duly index` first.")
        return cursor

    def find_cursor(self) -> Cursor | None:
        """The same; None where nothing was read yet. Tables of an older schema are brought forward.

        Raises: DatabaseTooNew, DatabaseError.
        """
        if not self._ready and not SERVICE.is_made(self.engine):
            return None
        with reading(self.engine) as connection:
            cursor = self._cursor(connection)
        self._ready = cursor is not None
        return cursor

    def _cursor(self, connection: Connection, *, locked: bool = False) -> Cursor | None:
        query = select(schema.cursor)
        row = connection.execute(query.with_for_update() if locked else query).first()
        if row is None:
            return None
        return Cursor(
            Identity(row.chain_id, row.genesis, row.ledger, row.first_block),
            Block(row.block_number, row.block_hash, row.block_timestamp),
        )

    def _write_first_cursor(self, connection: Connection, identity: Identity, before: Block) -> None:
        connection.execute(
            schema.cursor.insert().values(
                id=1,
                chain_id=identity.chain_id,
                genesis=identity.genesis,
                ledger=identity.ledger,
                first_block=identity.first_block,
                **_cursor_values(before),
            )
        )

    # ------------------------------------------------------------------------------------ writing

    def apply(self, logged: Sequence[Logged], after: Block, upto: Block) -> None:
        """Take in the events of the blocks that follow `after`, to `upto`; all of it or nothing.

        Raises: CursorMoved, when `after` is not how far the chain was read; HistoryIncomplete, DatabaseError.
        """
        if not logged:
            with writing(self.engine) as connection:
                self._expect(connection, after)
                self._move_cursor(connection, upto)
            self._carry(after, upto)
            return
        if self._state_at != after or len(self._state.loans) + len(self._state.profiles) > _REMEMBERED:
            self._state, self._numbers = State(), {}
        state, touched = self._state, _Touched(logged)
        self._state_at = None
        with writing(self.engine) as connection:
            self._expect(connection, after)
            self._load(connection, state, touched)
            apply_all(logged, state)
            self._insert_events(connection, logged, touched)
            self._write_state(connection, state, touched, self._numbers)
            self._move_cursor(connection, upto)
        state.commitments.clear()  # only ever written
        self._state_at = upto

    def roll_back(self, to: Block) -> int:
        """Undo every block after `to`, which the events of no other branch may precede; returns how many
        events that took back.

        Raises: NothingIndexed, DatabaseError.
        """
        self._state, self._numbers, self._state_at = State(), {}, None
        with writing(self.engine) as connection:
            cursor = self._cursor(connection, locked=True)
            if cursor is None:
                raise NothingIndexed(remedy="Run `duly index` first.")
            newer = schema.events.c.block_number > to.number
            touched = _Touched(item for item, _ in self._logged(connection, [newer]))
            touched.loans |= self._complained_of(connection, touched.parties)
            touched.loans |= self._linked(connection, touched.loans)
            count = connection.execute(delete(schema.events).where(newer)).rowcount
            for table in (schema.notices, schema.refusals):
                connection.execute(delete(table).where(table.c.block_number > to.number))
            connection.execute(delete(schema.blocks).where(schema.blocks.c.number > to.number))
            take_back(connection, to.number)
            self._delete_state(connection, touched)
            # What is left is made anew from its own events.
            numbers = self._numbers_of(connection, touched.loans)
            state = apply_all(self._history(connection, touched, numbers), State())
            self._write_state(connection, state, touched, numbers)
            self._move_cursor(connection, to)
        return int(count)

    def _expect(self, connection: Connection, after: Block) -> None:
        cursor = self._cursor(connection, locked=True)
        if cursor is None or cursor.block != after:
            raise CursorMoved(remedy="Let the other program finish, then run `duly index` again.")

    def _move_cursor(self, connection: Connection, block: Block) -> None:
        connection.execute(schema.cursor.update().values(**_cursor_values(block)))

    def _carry(self, after: Block, upto: Block) -> None:
        if self._state_at == after:
            self._state_at = upto

    def _load(self, connection: Connection, state: State, touched: "_Touched") -> None:
        """Read what stands about everything that is touched, where it is not remembered."""
        known = state.loans
        unknown = touched.loans - known.keys()
        for row in _rows_of(connection, _LOANS_AND_SAID, schema.loans.c.id, unknown):
            known[row.id] = loan_of_row(row)
            self._numbers[row.id] = row.number
            if row.carried:
                state.carried[row.id] = row.carried
            if row.said_received is not None:
                state.said[row.id] = _said(row)
                if (seldom := _seldom_said(row)) != NOTHING_SELDOM:
                    state.seldom_said[row.id] = seldom
        for row in _rows_of(connection, select(schema.cases), schema.cases.c.loan, unknown):
            state.cases[row.loan] = state.cases.get(row.loan, {}) | {Grievance(row.grievance): _case(row)}
        parties = touched.parties
        for row in _rows_of(
            connection, select(schema.profiles), schema.profiles.c.borrower, parties - state.profiles.keys()
        ):
            state.profiles[row.borrower] = _profile(row)
            if row.changes_told is not None:
                state.changes_told[row.borrower] = row.changes_told
        for row in _rows_of(
            connection,
            select(schema.reminders),
            schema.reminders.c.borrower,
            parties - state.reminders.keys(),
        ):
            state.reminders[row.borrower] = tuple(json.loads(row.times))
        for row in _rows_of(
            connection, select(schema.rests), schema.rests.c.borrower, parties - state.rests.keys()
        ):
            state.rests[row.borrower] = _rest(row)
        for row in _rows_of(
            connection, select(schema.held), schema.held.c.lender, parties - state.held.keys()
        ):
            state.held[row.lender] = row.amount
        for row in _rows_of(connection, select(schema.policies), schema.policies.c.number, touched.policies):
            state.policies[row.number] = _policy(row)

    def _insert_events(self, connection: Connection, logged: Sequence[Logged], touched: "_Touched") -> None:
        numbers, some_begin = self._numbers, bool(touched.opened)
        if some_begin:
            opened = connection.execute(
                select(func.coalesce(func.max(schema.loans.c.number), 0))
            ).scalar_one()
        rows: list[tuple[Any, ...]] = []
        blocks: list[tuple[Any, ...]] = []
        last = -1
        for (event, block, block_hash, timestamp, transaction, index), about in zip(
            logged, touched.about, strict=True
        ):
            loan, party, policy = about
            if block != last:
                blocks.append((block, block_hash, timestamp))
                last = block
            number = None
            if loan is not None:
                if some_begin and (begun := begins(event)):
                    opened += 1
                    numbers[begun] = opened
                # Before there is a loan, only a refused notice, or a withdrawn offer, can be about it.
                number = numbers.get(loan)
            args = _PACKERS[type(event)](event)
            rows.append((block, index, transaction, event.name, number, party, policy, args))
        self._put(connection, schema.blocks, blocks)
        self._put(connection, schema.events, rows)
        self._put(
            connection,
            schema.notices,
            [
                (
                    e.id,
                    item.block_number,
                    item.log_index,
                    item.timestamp,
                    item.transaction_hash,
                    e.loan,
                    e.server,
                    e.borrower,
                    int(e.kind),
                    e.instalment,
                    str(e.amount),
                    int(e.channel),
                    str(e.basis),
                    str(e.serial),
                    e.content_hash,
                )
                for item in touched.others
                if isinstance(e := item.event, NoticeServed)
            ],
        )
        if self.on_served and (
            served := [item for item in touched.others if isinstance(item.event, NoticeServed)]
        ):
            self.on_served(connection, served)
        self._put(
            connection,
            schema.refusals,
            [
                (
                    item.block_number,
                    item.log_index,
                    item.timestamp,
                    e.loan,
                    e.server,
                    int(e.kind),
                    e.instalment,
                    int(e.channel),
                    int(e.reason),
                    str(e.actual),
                    str(e.required),
                )
                for item in touched.others
                if isinstance(e := item.event, NoticeRefused)
            ],
        )

    def _write_state(
        self, connection: Connection, state: State, touched: "_Touched", numbers: Mapping[bytes, int]
    ) -> None:
        """Write what stands now about everything that is touched."""
        loans, new = state.loans, touched.opened
        self._put(
            connection,
            schema.loans,
            sorted((numbers[loan], *_loan_row(loans[loan], state)) for loan in new & loans.keys()),
        )
        # In the order of the rows, which is kinder to the disk.
        known = sorted((numbers[loan], loan) for loan in touched.loans - new if loan in numbers)
        self._update_loans(
            connection,
            _LOAN_CHANGES,
            [(*_loan_change(loans[loan], state), number) for number, loan in known],
        )
        self._update_loans(
            connection,
            _CLAIM_CHANGES,
            [(*_claim(loans[loan]), numbers[loan]) for loan in (touched.claims - new) & loans.keys()],
        )
        self._put(
            connection,
            schema.said,
            [
                (
                    loan,
                    str(said.received),
                    said.next,
                    said.upcoming,
                    said.missed,
                    said.overdue,
                    said.flags,
                    json.dumps(said.services),
                    *_values(state.seldom_said.get(loan, NOTHING_SELDOM)),
                )
                for loan in touched.loans
                if (said := state.said.get(loan))
            ],
            replace=True,
        )
        for some in _chunks(loan for loan in touched.claims if not state.cases.get(loan)):
            # They went over to another loan.
            connection.execute(delete(schema.cases).where(schema.cases.c.loan.in_(some)))
        self._put(
            connection,
            schema.cases,
            [
                (loan, int(grievance), *map(int, _values(case)))
                for loan in touched.loans
                for grievance, case in state.cases.get(loan, {}).items()
            ],
            replace=True,
        )
        parties = touched.parties
        self._put(
            connection,
            schema.profiles,
            [
                (
                    borrower,
                    p.offset,
                    p.other_offset,
                    p.registered,
                    p.consented,
                    int(p.ceased),
                    p.changes,
                    state.changes_told.get(borrower),
                )
                for borrower in parties
                if (p := state.profiles.get(borrower))
            ],
            replace=True,
        )
        self._put(
            connection,
            schema.commitments,
            [
                (borrower, int(channel), commitment)
                for (borrower, channel), commitment in state.commitments.items()
                if borrower in parties
            ],
            replace=True,
        )
        self._put(
            connection,
            schema.reminders,
            [(b, json.dumps(times)) for b in parties if (times := state.reminders.get(b))],
            replace=True,
        )
        self._put(
            connection,
            schema.rests,
            [(borrower, *_values(rest)) for borrower in parties if (rest := state.rests.get(borrower))],
            replace=True,
        )
        self._put(
            connection,
            schema.servicers,
            [(lender, s) for lender in parties if (s := state.servicers.get(lender))],
            replace=True,
        )
        self._put(
            connection,
            schema.held,
            [(lender, str(amount)) for lender in parties if (amount := state.held.get(lender)) is not None],
            replace=True,
        )
        self._put(
            connection,
            schema.policies,
            [_policy_row(policy) for policy in _present(state.policies, touched.policies)],
            replace=True,
        )

    def _delete_state(self, connection: Connection, touched: "_Touched") -> None:
        """Delete what stands about everything that is touched, save loans that stay open."""
        for column, keys in (
            (schema.loans.c.id, touched.opened),
            (schema.said.c.loan, touched.loans),
            (schema.cases.c.loan, touched.loans),
            (schema.rests.c.borrower, touched.parties),
            (schema.profiles.c.borrower, touched.parties),
            (schema.commitments.c.borrower, touched.parties),
            (schema.reminders.c.borrower, touched.parties),
            (schema.servicers.c.lender, touched.parties),
            (schema.held.c.lender, touched.parties),
            (schema.policies.c.number, touched.policies),
        ):
            for some in _chunks(keys):
                connection.execute(delete(column.table).where(column.in_(some)))

    def _complained_of(self, connection: Connection, parties: set[str]) -> set[bytes]:
        """The loans with grievances of some borrowers: what those that concern all loans come to takes the
        events of each.
        """
        query = select(schema.cases.c.loan).join(schema.loans, schema.loans.c.id == schema.cases.c.loan)
        return {row.loan for row in _rows_of(connection, query, schema.loans.c.borrower, parties)}

    def _linked(self, connection: Connection, loans: set[bytes]) -> set[bytes]:
        """The loans that some replaced, and that replaced them, however often: to make any of them anew takes
        the events of all.
        """
        c, query = schema.loans.c, select(schema.loans.c.id, schema.loans.c.replaces)
        found, more = set(loans), set(loans)
        while more:
            rows = [row for column in (c.id, c.replaces) for row in _rows_of(connection, query, column, more)]
            more = {loan for row in rows for loan in row if loan} - found
            found |= more
        return found

    def _numbers_of(self, connection: Connection, loans: Iterable[bytes]) -> dict[bytes, int]:
        query = select(schema.loans.c.id, schema.loans.c.number)
        return {row.id: row.number for row in _rows_of(connection, query, schema.loans.c.id, loans)}

    def _put(
        self, connection: Connection, table: Table, rows: list[tuple[Any, ...]], *, replace: bool = False
    ) -> None:
        """Insert rows as the driver takes them, in the order of the table's columns."""
        if not rows:
            return
        names = [f'"{column.name}"' for column in table.columns]
        into = f'"{table.name}" ({", ".join(names)})'
        end = ""
        if replace:
            keys = [f'"{column.name}"' for column in table.primary_key]
            changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
            end = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
        if self._on_sqlite:
            self._many(connection, f"INSERT INTO {into} VALUES ", rows, end)
        elif replace:
            columns = bulk.arrays(table.columns)
            start = f"INSERT INTO {into} SELECT * FROM unnest({columns}){end}"
            connection.exec_driver_sql(start, bulk.by_column(rows))
        else:
            bulk.copy(connection, into, rows)

    def _update_loans(
        self, connection: Connection, columns: Sequence[str], rows: list[tuple[Any, ...]]
    ) -> None:
        """Update some columns of loans, whose numbers stand last in the rows."""
        if not rows:
            return
        names = ", ".join(f'"{name}"' for name in (*columns, "number"))
        changes = ", ".join(f'"{name}" = new."{name}"' for name in columns)
        update = f'UPDATE "loans" SET {changes} FROM new WHERE "loans"."number" = new."number"'
        if self._on_sqlite:
            self._many(connection, f"WITH new ({names}) AS (VALUES ", rows, f") {update}")
        else:
            arrays = bulk.arrays([schema.loans.c[name] for name in (*columns, "number")])
            statement = f"WITH new ({names}) AS (SELECT * FROM unnest({arrays})) {update}"
            connection.exec_driver_sql(statement, bulk.by_column(rows))

    def _many(self, connection: Connection, start: str, rows: list[tuple[Any, ...]], end: str) -> None:
        """A statement for as many rows at once as SQLite takes parameters.

        The driver lets go of the interpreter once for each statement, so that the next page is decoded
        meanwhile; with one for each row it would do nothing but take turns.
        """
        width = len(rows[0])
        row = f"({', '.join(['?'] * width)})"
        for some in _chunks(rows, _PARAMETERS // width):
            values = tuple(chain.from_iterable(some))
            connection.exec_driver_sql(start + ", ".join([row] * len(some)) + end, values)

    # ------------------------------------------------------------------------------------ history

    def _history(
        self, connection: Connection, touched: "_Touched", numbers: Mapping[bytes, int]
    ) -> list[Logged]:
        """All events about what is touched, in the chain's order."""
        found: dict[tuple[int, int], Logged] = {}
        events = schema.events.c
        for column, keys in (
            (events.loan, numbers.values()),
            (events.party, touched.parties),
            (events.policy, touched.policies),
        ):
            for some in _chunks(keys):
                for item, place in self._logged(connection, [column.in_(some)]):
                    found[place] = item
        return [found[place] for place in sorted(found)]

    def _logged(
        self, connection: Connection, conditions: Sequence[Any], limit: int | None = None
    ) -> Iterator[tuple[Logged, tuple[int, int]]]:
        events, blocks = schema.events.c, schema.blocks.c
        query = (
            select(schema.events, blocks.hash, blocks.timestamp)
            .join_from(schema.events, schema.blocks, blocks.number == events.block_number)
            .where(*conditions)
            .order_by(events.block_number, events.log_index)
            .limit(limit)
        )
        for row in streamed(connection, query):
            event = _unpacked(row.name, row.args)
            yield (
                Logged(event, row.block_number, row.hash, row.timestamp, row.transaction_hash, row.log_index),
                (row.block_number, row.log_index),
            )

    def history(self, loan: bytes) -> list[Logged]:
        """Everything that was told about a loan, in the chain's order; that it replaced another one too."""
        loans, events = schema.loans.c, schema.events.c
        number = select(loans.number)
        replaced = select(loans.replaces).where(loans.id == loan).scalar_subquery()
        condition = or_(
            events.loan == number.where(loans.id == loan).scalar_subquery(),
            and_(
                events.loan == number.where(loans.id == replaced).scalar_subquery(),
                events.name == LoanAmended.name,
            ),
        )
        with self._reading() as connection:
            return [item for item, _ in self._logged(connection, [condition])]

    def events(self, after: int = -1, upto: int | None = None) -> Iterator[Logged]:
        """Every event of the blocks after `after`, to `upto`, in the chain's order."""
        conditions = [schema.events.c.block_number > after]
        if upto is not None:
            conditions.append(schema.events.c.block_number <= upto)
        with self._reading() as connection:
            for item, _ in self._logged(connection, conditions):
                yield item

    def about_loans(self, after: Place, limit: int) -> list[Logged]:
        """The first events about loans that follow a place, in the chain's order."""
        with self._reading() as connection:
            return [item for item, _ in self._logged(connection, _about_loans(after), limit)]

    def count_about_loans(self, after: Place) -> int:
        """How many they are."""
        query = select(func.count()).select_from(schema.events).where(*_about_loans(after))
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def count_blocks(self) -> int:
        """How many blocks with events the database knows."""
        with self._reading() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.blocks)).scalar_one())

    def recent_block(self, position: int) -> Block:
        """The newest block with events (0), the one before (1), and so on.

        Raises: IndexError.
        """
        query = select(schema.blocks).order_by(schema.blocks.c.number.desc()).offset(position).limit(1)
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise IndexError(position)
        return Block(row.number, row.hash, row.timestamp)

    # ------------------------------------------------------------------------------------ asking

    def _reading(self) -> Any:
        if not self._ready:
            self.cursor()
        return reading(self.engine)

    def loan(self, loan_id: bytes) -> Loan | None:
        """A loan as recorded; lateness as last assessed."""
        with self._reading() as connection:
            row = connection.execute(select(schema.loans).where(schema.loans.c.id == loan_id)).first()
        return None if row is None else loan_of_row(row)

    def policies_of(self, loans: Collection[bytes]) -> dict[bytes, int]:
        """The numbers of the policies that loans were made under."""
        query = select(schema.loans.c.id, schema.loans.c.policy)
        with self._reading() as connection:
            return {row.id: row.policy for row in _rows_of(connection, query, schema.loans.c.id, loans)}

    def successor(self, loan_id: bytes) -> bytes | None:
        """The loan that replaced this one; None where none did."""
        query = select(schema.loans.c.id).where(schema.loans.c.replaces == loan_id)
        with self._reading() as connection:
            found: bytes | None = connection.execute(query).scalar()
        return found

    def cases(self, loan_id: bytes) -> dict[Grievance, Case]:
        """The grievances about a loan that were ever lodged."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.cases).where(schema.cases.c.loan == loan_id)).all()
        return {Grievance(row.grievance): _case(row) for row in rows}

    def find_loan(self, prefix: str) -> Loan:
        """The one loan whose id begins with these hexadecimal digits, 0x or not.

        Raises: UnknownLoan, AmbiguousLoan.
        """
        digits = prefix.strip().lower().removeprefix("0x")
        least = greatest = b""
        if 0 < len(digits) <= 64:
            with suppress(ValueError):
                least, greatest = bytes.fromhex(digits.ljust(64, "0")), bytes.fromhex(digits.ljust(64, "f"))
        if not least:
            raise UnknownLoan(f"{prefix[:70]!r} is no loan's id", wanted="0x and up to 64 hexadecimal digits")
        query = select(schema.loans).where(schema.loans.c.id.between(least, greatest))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(schema.loans.c.id).limit(3)).all()
        if not rows:
            raise UnknownLoan(
                f"no loan's id begins with 0x{digits}",
                remedy="`duly loans` lists the loans; `duly index` reads new ones from the chain.",
            )
        if len(rows) > 1:
            shown = ", ".join(_short(row.id, 10) for row in rows[:2]) + (", …" if len(rows) > 2 else "")
            raise AmbiguousLoan(f"more than one loan's id begins with 0x{digits}: {shown}")
        return loan_of_row(rows[0])

    def loans(
        self,
        *,
        statuses: Collection[Status] | None = None,
        borrower: str | None = None,
        lender: str | None = None,
        limit: int | None = None,
    ) -> list[Loan]:
        """Loans as recorded, newest first; `lender` is whom the claim belongs to."""
        loans = schema.loans.c
        query = select(schema.loans).order_by(loans.number.desc()).limit(limit)
        if statuses is not None:
            query = query.where(loans.status.in_(statuses))
        for column, value in ((loans.borrower, borrower), (loans.lender, lender)):
            if value is not None:
                query = query.where(column == value)
        with self._reading() as connection:
            return [loan_of_row(row) for row in connection.execute(query)]

    def count_loans(self, status: Status | None = None) -> int:
        """How many loans there are."""
        query = select(func.count()).select_from(schema.loans)
        if status is not None:
            query = query.where(schema.loans.c.status == status)
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def candidates(self, today: int, days: int = 0) -> Iterator[Candidate]:
        """The loans that something may have to be said about on a day, in the order of opening; or within so
        many days after it.

        Loans whose first unpaid instalment may be spoken of by then or is overdue; of which an instalment
        that is about to fall due is paid already; whose cooling-off period is about to end; whose borrower
        has not been told of a change of consent; and of which the opening, a payment or the end has not been
        told yet. today: the latest calendar day on Earth (`calendar.local_day(now, calendar.EASTERNMOST)`).
        More than will be said, never less.
        """
        with self._reading() as connection:
            ids = self._due(connection, today, days).subquery()
            query = select(*_CANDIDATE_COLUMNS).select_from(ids)
            query = _with_all(query.join(schema.loans, schema.loans.c.number == ids.c.number))
            for row in streamed(connection, query.order_by(schema.loans.c.number)):
                yield _candidate(row)

    def due(self, today: int, days: int = 0) -> list[int]:
        """The numbers of the loans that are `candidates`, in no order: the scan alone."""
        with self._reading() as connection:
            return list(connection.execute(self._due(connection, today, days)).scalars())

    def _due(self, connection: Connection, today: int, days: int) -> CompoundSelect[Any]:
        """Each part by an index of its own, most of which need not look at the loans themselves; a condition
        more would make the database take another one.
        """
        loans, policies, profiles = schema.loans.c, schema.policies.c, schema.profiles.c
        ahead = select(func.coalesce(func.max(policies.upcoming_days), 0)).scalar_subquery()
        # In the words of the index.
        untold = select(profiles.borrower).where(text("changes > changes_told AND consented <> 0"))
        numbers = select(loans.number)
        paid: BindParameter[Any] = bindparam(
            "paid", list(self._paid_ahead(connection, today, days)), expanding=True, literal_execute=True
        )
        return numbers.where(
            loans.next_due_day.is_not(None), loans.next_due_day <= today + days + ahead
        ).union(
            numbers.where(loans.unsaid == 1),
            numbers.where(loans.number.in_(paid)),
            numbers.where(loans.borrower.in_(untold)),
            *(
                numbers.where(
                    loans.policy == policy,
                    loans.opened_at >= (today + 1 - period - _DAYS_ON_EARTH) * calendar.DAY,
                    loans.opened_at < (today + 1 - period + COOLING_OFF_ENDS + days) * calendar.DAY,
                )
                for policy, period in connection.execute(select(policies.number, policies.cooling_off_days))
                if period
            ),
        )

    def _paid_ahead(self, connection: Connection, today: int, days: int) -> Iterator[int]:
        """The numbers of the loans of which a paid instalment falls due soon.

        The last that is paid does, or one before it that is still to come: of those few the calendar is
        asked. All that is asked of the others stands in the index.
        """
        loans, from_day, upto = schema.loans.c, today - _DAYS_ON_EARTH, today + days + _LOOK_AHEAD
        several = [
            and_(loans.frequency == f, loans.paid_through_day > from_day + calendar.shortest_interval(f))
            for f in Frequency
        ]
        query = select(loans.number, loans.first_due, loans.frequency, loans.instalments).where(
            loans.paid_through_day.is_not(None),
            loans.paid_through_day > from_day,
            loans.first_due <= upto,
            or_(loans.paid_through_day <= upto, *several),
        )
        for number, first_due, frequency, instalments in connection.execute(query):
            k = calendar.passed(first_due, Frequency(frequency), instalments, from_day)
            if calendar.due_day(first_due, Frequency(frequency), k + 1) <= upto:
                yield number

    def candidate(self, loan_id: bytes) -> Candidate | None:
        """The same of one loan, whether or not something may have to be said about it."""
        query = _with_all(select(*_CANDIDATE_COLUMNS).select_from(schema.loans))
        query = query.where(schema.loans.c.id == loan_id)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _candidate(row)

    def profile(self, borrower: str) -> Profile:
        """What a borrower has registered and allowed; the nonce is not known here: 0."""
        query = select(schema.profiles).where(schema.profiles.c.borrower == borrower)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return Profile() if row is None else _profile(row)

    def commitment(self, borrower: str, channel: Channel) -> bytes | None:
        """The salted hash of the borrower's contact; None where none is registered."""
        c = schema.commitments.c
        query = select(c.commitment).where(c.borrower == borrower, c.channel == int(channel))
        with self._reading() as connection:
            found: bytes | None = connection.execute(query).scalar()
        return found

    def servicer(self, lender: str) -> str:
        """Whom a lender appointed; the zero address where nobody."""
        query = select(schema.servicers.c.servicer).where(schema.servicers.c.lender == lender)
        with self._reading() as connection:
            return connection.execute(query).scalar() or ZERO_ADDRESS

    def lends_or_serves(self, address: str) -> bool:
        """Whether an address has lent, or is the servicer that a lender appointed."""
        lender, servicers = schema.loans.c.lender, schema.servicers.c
        # By order, which only an index gives: where almost all loans are of one lender, PostgreSQL expects to
        # find any lender's at once, and reads all loans for one who has none.
        lends = select(lender).where(lender >= address).order_by(lender).limit(1)
        serves = select(servicers.lender).where(servicers.servicer == address).limit(1)
        with self._reading() as connection:
            return (
                connection.execute(lends).scalar() == address
                or connection.execute(serves).scalar() is not None
            )

    def count_served_by(self, server: str) -> int:
        """Loans on which something is owed and about which an address may serve notices: as their lender, or
        as the servicer that this appointed.
        """
        loans, servicers = schema.loans, schema.servicers
        query = (
            select(func.count())
            .select_from(loans.outerjoin(servicers, servicers.c.lender == loans.c.lender))
            .where(
                loans.c.next_due_day.is_not(None),
                or_(loans.c.lender == server, servicers.c.servicer == server),
            )
        )
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def policies_in_use(self) -> dict[int, int]:
        """Loans on which something is owed, under each policy that has any."""
        loans = schema.loans
        query = (
            select(loans.c.policy, func.count())
            .where(loans.c.next_due_day.is_not(None))
            .group_by(loans.c.policy)
        )
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def held(self, lender: str) -> int:
        """What the ledger holds for a lender that could not receive."""
        query = select(schema.held.c.amount).where(schema.held.c.lender == lender)
        with self._reading() as connection:
            return connection.execute(query).scalar() or 0

    def said(self, loan: bytes) -> Said:
        """What was already said about a loan."""
        query = select(*_SAID_COLUMNS).where(schema.said.c.loan == loan)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return Said() if row is None else _said(row)

    def reminders(self, borrower: str) -> tuple[int, ...]:
        """The times of a borrower's last seven reminders, newest first."""
        query = select(schema.reminders.c.times).where(schema.reminders.c.borrower == borrower)
        with self._reading() as connection:
            times = connection.execute(query).scalar()
        return tuple(json.loads(times)) if times else ()

    def policy(self, number: int) -> Policy | None:
        """A policy as it stands."""
        query = select(schema.policies).where(schema.policies.c.number == number)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _policy(row)

    def policies(self) -> list[Policy]:
        """All policies, by number."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.policies).order_by(schema.policies.c.number))
            return [_policy(row) for row in rows]

    def notice(self, notice_id: bytes) -> ServedNotice | None:
        """A notice that was served."""
        query = select(schema.notices).where(schema.notices.c.id == notice_id)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else served_of_row(row)

    def notices(
        self,
        *,
        loan: bytes | None = None,
        borrower: str | None = None,
        server: str | None = None,
        after: tuple[int, int] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[ServedNotice]:
        """Notices that were served, in the chain's order.

        after: leave out those up to this block number and log index.
        """
        query = _filtered(
            schema.notices, after, limit, newest_first, loan=loan, borrower=borrower, server=server
        )
        with self._reading() as connection:
            return [served_of_row(row) for row in connection.execute(query)]

    def refusals(
        self,
        *,
        loan: bytes | None = None,
        server: str | None = None,
        after: tuple[int, int] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[RefusedNotice]:
        """Notices of batches that were skipped, in the chain's order."""
        query = _filtered(schema.refusals, after, limit, newest_first, loan=loan, server=server)
        with self._reading() as connection:
            return [refused_of_row(row) for row in connection.execute(query)]


class _Touched:
    """What some events are about. `about` has the subjects of each, `opened` the loans that begin with them,
    `claims` those whose lender, default or grievances they change, `others` the events that are no payments.
    """

    __slots__ = ("about", "claims", "loans", "opened", "others", "parties", "policies")

    def __init__(self, logged: Iterable[Logged]) -> None:
        self.about: list[tuple[bytes | None, str | None, int | None]] = []
        self.opened: set[bytes] = set()
        self.claims: set[bytes] = set()
        self.others: list[Logged] = []
        loans: set[bytes | None] = set()
        parties: set[str | None] = set()
        policies: set[int | None] = set()
        for item in logged:
            event = item.event
            # Most events are payments; this is quicker than to ask.
            if type(event) is Repaid:
                self.about.append((event.id, None, None))
                loans.add(event.id)
                continue
            about = subjects(event)
            self.about.append(about)
            self.others.append(item)
            loans.add(about[0])
            parties.add(about[1])
            policies.add(about[2])
            if begun := begins(event):
                self.opened.add(begun)
            elif isinstance(event, (LoanAssigned, LoanDefaulted)):
                self.claims.add(event.id)
            elif isinstance(event, (GrievanceLodged, GrievanceAnswered, GrievanceWithdrawn)):
                self.claims.add(event.loan)
            elif isinstance(event, GrievancesCarriedOver):
                self.claims |= {event.loan, event.amendment}
        self.loans: set[bytes] = {found for found in loans if found is not None} | self.opened
        self.parties: set[str] = {found for found in parties if found is not None}
        self.policies: set[int] = {found for found in policies if found is not None}


def _about_loans(after: Place) -> list[Any]:
    events = schema.events.c
    later = or_(events.block_number > after.block, events.log_index > after.log_index)
    return [events.loan.is_not(None), events.block_number >= after.block, later]


# ---------------------------------------------------------------------------------------- events as JSON


def _packer(kind: type[Any]) -> Callable[[Any], str]:
    """Writes events of a kind as JSON. The fields of a struct stand among the event's own.

    A line of Python is made for it, once, such as:

        lambda e: f'{{"id":"0x{e.id.hex()}","amount":{e.amount:d}}}'
    """
    parts = []
    for path, name, hint in _leaves(kind):
        if hint is bytes:
            parts.append(f'"{name}":"0x{{e.{path}.hex()}}"')
        elif hint is str:
            parts.append(f'"{name}":"{{e.{path}}}"')
        else:
            parts.append(f'"{name}":{{e.{path}:d}}')
    packer: Callable[[Any], str] = eval("lambda e: f'{{" + ",".join(parts) + "}}'")
    return packer


def _leaves(kind: type[Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint = hints[field.name]
        if hasattr(hint, "__dataclass_fields__"):
            yield from _leaves(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field.name, hint


_PACKERS = {event: _packer(event) for event in EVENTS}
_BY_NAME = {event.name: event for event in EVENTS}


def _unpacked(name: str, args: str) -> Event:
    event: Event = _built(_BY_NAME[name], json.loads(args))
    return event


def _built(kind: type[Any], values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    found = []
    for field in fields(kind):
        hint = hints[field.name]
        if hasattr(hint, "__dataclass_fields__"):
            found.append(_built(hint, values))
        elif hint is bytes:
            found.append(bytes.fromhex(values[field.name][2:]))
        elif isinstance(hint, type) and issubclass(hint, IntEnum):
            found.append(hint(values[field.name]))
        else:
            found.append(values[field.name])
    # Terms take their fields by name only.
    return kind(**dict(zip((field.name for field in fields(kind)), found, strict=True)))


# ---------------------------------------------------------------------------------------- rows

_LOAN_CHANGES: Final = (
    "total", "paid", "fees", "assessed", "status", "next_due_day", "paid_through_day", "unsaid",
)  # fmt: skip
# These stand apart, as few events change them: to update a column that an index is on takes long.
_CLAIM_CHANGES: Final = (
    "lender", "defaulted", "assigned", "rest_standing", "rest_until", "rest_fees_standing", "rest_fees_until",
)  # fmt: skip

_SAID_COLUMNS: Final = [column.label(f"said_{column.name}") for column in schema.said.columns]
_LOANS_AND_SAID: Final = select(schema.loans, *_SAID_COLUMNS).outerjoin(
    schema.said, schema.said.c.loan == schema.loans.c.id
)
_DISPUTES: Final = schema.cases.alias("disputes")
_HARDSHIPS: Final = schema.cases.alias("hardships")
_CANDIDATE_COLUMNS: Final = [
    *schema.loans.columns,
    *_SAID_COLUMNS,
    *schema.profiles.columns,
    schema.reminders.c.times,
    schema.servicers.c.servicer,
    *[column for column in schema.policies.columns if column.name in ContactLimits.__slots__],
    schema.policies.c.cooling_off_days,
    schema.policies.c.pack,
    select(func.max(schema.notices.c.timestamp))
    .where(
        schema.notices.c.loan == schema.loans.c.id,
        schema.notices.c.kind.in_([int(kind) for kind in Kind if kind.is_reminder]),
    )
    .correlate(schema.loans)
    .scalar_subquery()
    .label("reminded_at"),
    *[column.label(f"all_{column.name}") for column in schema.rests.columns],
    *[column.label(f"dispute_{column.name}") for column in _DISPUTES.columns],
    *[column.label(f"hardship_{column.name}") for column in _HARDSHIPS.columns],
]


def _with_all(query: Select[Any]) -> Select[Any]:
    """Of a query of loans, with everything that a candidate is made from."""
    loans = schema.loans.c
    return (
        query.join(schema.policies, schema.policies.c.number == loans.policy)
        .outerjoin(schema.said, schema.said.c.loan == loans.id)
        .outerjoin(schema.profiles, schema.profiles.c.borrower == loans.borrower)
        .outerjoin(schema.reminders, schema.reminders.c.borrower == loans.borrower)
        .outerjoin(schema.rests, schema.rests.c.borrower == loans.borrower)
        .outerjoin(schema.servicers, schema.servicers.c.lender == loans.lender)
        .outerjoin(
            _DISPUTES, and_(_DISPUTES.c.loan == loans.id, _DISPUTES.c.grievance == int(Grievance.DISPUTE))
        )
        .outerjoin(
            _HARDSHIPS, and_(_HARDSHIPS.c.loan == loans.id, _HARDSHIPS.c.grievance == int(Grievance.HARDSHIP))
        )
    )


def _cursor_values(block: Block) -> dict[str, Any]:
    return {"block_number": block.number, "block_hash": block.hash, "block_timestamp": block.timestamp}


def _values(record: Case | Rest | SeldomSaid) -> tuple[Any, ...]:
    """A record's fields. `dataclasses.astuple` would copy each, deeply: a tenth of all work on new loans."""
    return tuple(getattr(record, name) for name in record.__match_args__)


def _loan_change(loan: Loan, state: State) -> tuple[Any, ...]:
    """What changes about a loan."""
    return str(loan.total), str(loan.paid), str(loan.fees), loan.assessed, *_planning(loan, state)


def _claim(loan: Loan) -> tuple[Any, ...]:
    """What seldom changes about a loan."""
    return loan.lender, loan.defaulted, int(loan.assigned), *_values(loan.rest)


def _loan_row(loan: Loan, state: State) -> tuple[Any, ...]:
    t, carried = loan.terms, state.carried.get(loan.id)
    return (
        loan.id,
        t.lender,
        t.borrower,
        str(t.principal),
        str(t.origination_fee),
        str(t.late_fee),
        t.rate,
        t.instalments,
        t.first_due,
        int(t.schedule),
        int(t.frequency),
        t.calendar_offset,
        t.grace_days,
        t.policy,
        t.expires,
        t.agreement_hash,
        t.replaces if loan.amends else None,
        t.salt,
        loan.opened_at,
        str(loan.instalment),
        str(loan.total),
        str(loan.paid),
        str(loan.fees),
        loan.assessed,
        None if carried is None else str(carried),
        *_claim(loan),
        *_planning(loan, state),
    )


def _planning(loan: Loan, state: State) -> tuple[int, int | None, int | None, int]:
    """Status, due days of the first unpaid and the last paid instalment, and whether something was not said
    yet.

    Of a loan that replaced another what was paid on the other is no news; of one that was replaced or
    rescinded only what was paid is.
    """
    terms, status = loan.terms, loan.status
    said, carried = state.said.get(loan.id), state.carried.get(loan.id)
    flags, received = (said.flags, said.received) if said else (0, 0)
    if status is Status.REPAID:
        return int(status), None, None, int(not flags & REPAID)
    unsaid = loan.paid > (received if carried is None else max(received, carried))
    if status is Status.REPLACED or status is Status.RESCINDED:
        return int(status), None, None, int(unsaid)
    # With every instalment paid there may still be late fees.
    covered = schedule.covered_by(loan)
    k = min(covered + 1, terms.instalments)
    unsaid = (
        unsaid
        or not flags & (AMENDED if loan.amends else OPENED)
        or (loan.assigned and state.seldom_said.get(loan.id, NOTHING_SELDOM).lender != loan.lender)
        or any(
            case.stands and not case.received and grievance is not Grievance.REPRESENTATION
            for grievance, case in state.cases.get(loan.id, {}).items()
        )
    )
    paid_through = schedule.due_day(terms, covered) if covered else None
    return int(status), schedule.due_day(terms, k), paid_through, int(unsaid)


def loan_of_row(row: Row[Any]) -> Loan:
    """A loan, of a row of `schema.loans`."""
    return Loan(
        id=row.id,
        terms=_terms(row),
        opened_at=row.opened_at,
        instalment=row.instalment,
        total=row.total,
        paid=row.paid,
        fees=row.fees,
        assessed=row.assessed,
        lender=row.lender,
        defaulted=row.defaulted,
        recorded_status=_RECORDED.get(row.status, Status.ACTIVE),
        assigned=bool(row.assigned),
        rest=_rest(row) if row.rest_standing or row.rest_until else NO_REST,
    )


def _rest(row: Row[Any], prefix: str = "") -> Rest:
    values = row._mapping
    names = ("rest_standing", "rest_until", "rest_fees_standing", "rest_fees_until")
    return NO_REST if values[prefix + names[0]] is None else Rest(*(values[prefix + name] for name in names))


def _case(row: Row[Any], prefix: str = "") -> Case:
    values = row._mapping
    if values[f"{prefix}since"] is None:
        return NO_CASE
    return Case(
        values[f"{prefix}since"],
        values[f"{prefix}answered_at"],
        bool(values[f"{prefix}received"]),
        bool(values[f"{prefix}all_loans"]),
        bool(values[f"{prefix}fees_rest"]),
    )


_RECORDED: Final = {int(status): status for status in (Status.RESCINDED, Status.REPLACED)}


def _terms(row: Row[Any]) -> Terms:
    """What was checked when it was written is not checked again: that takes longer than to read it."""
    terms = Terms.__new__(Terms)
    put = object.__setattr__
    put(terms, "lender", row.first_lender)
    put(terms, "borrower", row.borrower)
    put(terms, "principal", row.principal)
    put(terms, "origination_fee", row.origination_fee)
    put(terms, "late_fee", row.late_fee)
    put(terms, "rate", row.rate)
    put(terms, "instalments", row.instalments)
    put(terms, "first_due", row.first_due)
    put(terms, "schedule", Schedule(row.schedule))
    put(terms, "frequency", Frequency(row.frequency))
    put(terms, "calendar_offset", row.calendar_offset)
    put(terms, "grace_days", row.grace_days)
    put(terms, "policy", row.policy)
    put(terms, "expires", row.expires)
    put(terms, "agreement_hash", row.agreement_hash)
    put(terms, "replaces", row.replaces or ZERO_HASH)
    put(terms, "salt", row.salt)
    return terms


def _said(row: Row[Any]) -> Said:
    return Said(
        received=row.said_received,
        next=row.said_next,
        upcoming=row.said_upcoming,
        missed=row.said_missed,
        overdue=row.said_overdue,
        flags=row.said_flags,
        services=tuple(json.loads(row.said_services)),
    )


def _seldom_said(row: Row[Any]) -> SeldomSaid:
    return SeldomSaid(
        row.said_lender, row.said_assignments, row.said_arrears_at, row.said_arrears, row.said_consents
    )


def _profile(row: Row[Any]) -> Profile:
    return Profile(
        row.offset,
        row.other_offset,
        row.registered,
        row.consented,
        bool(row.ceased),
        changes=row.changes,
    )


def _limits(row: Row[Any]) -> ContactLimits:
    return ContactLimits(
        opens=row.opens,
        closes=row.closes,
        lead=row.lead,
        weekdays=row.weekdays,
        per_day=row.per_day,
        per_week=row.per_week,
        gap=row.gap,
        upcoming_days=row.upcoming_days,
        overdue_days=row.overdue_days,
        pause_days=row.pause_days,
        rest_all_loans=row.rest_all_loans,
        rest_fees=row.rest_fees,
    )


def _policy(row: Row[Any]) -> Policy:
    return Policy(
        number=row.number,
        publisher=row.publisher,
        lending=LendingLimits(
            row.apr_cap,
            AprConvention(row.apr_convention),
            row.late_fee_cap,
            row.min_grace_days,
            row.cooling_off_days,
            row.default_days,
        ),
        contact=_limits(row),
        templates=row.templates,
        pack=row.pack,
        retired=bool(row.retired),
    )


def _policy_row(policy: Policy) -> tuple[Any, ...]:
    lending, contact = policy.lending, policy.contact
    return (
        policy.number,
        policy.publisher,
        lending.apr_cap,
        int(lending.apr_convention),
        lending.late_fee_cap,
        lending.min_grace_days,
        lending.cooling_off_days,
        lending.default_days,
        contact.opens,
        contact.closes,
        contact.lead,
        contact.weekdays,
        contact.per_day,
        contact.per_week,
        contact.gap,
        contact.upcoming_days,
        contact.overdue_days,
        contact.pause_days,
        contact.rest_all_loans,
        contact.rest_fees,
        policy.templates,
        policy.pack,
        int(policy.retired),
    )


def _candidate(row: Row[Any]) -> Candidate:
    return Candidate(
        loan=loan_of_row(row),
        carried=row.carried or 0,
        servicer=row.servicer or ZERO_ADDRESS,
        profile=Profile() if row.registered is None else _profile(row),
        said=Said() if row.said_received is None else _said(row),
        reminders=tuple(json.loads(row.times)) if row.times else (),
        limits=_limits(row),
        seldom_said=NOTHING_SELDOM if row.said_received is None else _seldom_said(row),
        cooling_off_days=row.cooling_off_days,
        rest=_rest(row, "all_"),
        dispute=_case(row, "dispute_"),
        hardship=_case(row, "hardship_"),
        pack=row.pack,
        reminded_at=row.reminded_at or 0,
        changes_told=row.changes_told,
    )


def served_of_row(row: Row[Any]) -> ServedNotice:
    """A notice, of a row of `schema.notices`."""
    values = row._asdict()
    return ServedNotice(**values | {"kind": Kind(row.kind), "channel": Channel(row.channel)})


def refused_of_row(row: Row[Any]) -> RefusedNotice:
    """A refusal, of a row of `schema.refusals`."""
    values = row._asdict()
    known = {"kind": Kind(row.kind), "channel": Channel(row.channel), "reason": Refusal(row.reason)}
    return RefusedNotice(**values | known)


def _filtered(
    table: Table, after: tuple[int, int] | None, limit: int | None, newest_first: bool, **equal: Any
) -> Select[Any]:
    number, index = table.c.block_number, table.c.log_index
    query = select(table).limit(limit)
    if newest_first:
        query = query.order_by(number.desc(), index.desc())
    else:
        query = query.order_by(number, index)
    for name, value in equal.items():
        if value is not None:
            query = query.where(table.c[name] == value)
    if after is not None:
        query = query.where(or_(number > after[0], and_(number == after[0], index > after[1])))
    return query


def _present(found: Mapping[Any, Any], keys: Iterable[Any]) -> list[Any]:
    return [found[key] for key in keys if key in found]


def _rows_of(
    connection: Connection, query: Select[Any], column: Any, keys: Iterable[Any]
) -> Iterator[Row[Any]]:
    for some in _chunks(keys):
        yield from connection.execute(query.where(column.in_(some)))


def _chunks(items: Iterable[_Item], size: int = _IN_ONE_QUERY) -> Iterator[list[_Item]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _short(value: bytes, digits: int = 8) -> str:
    return f"0x{value.hex()[:digits]}…"
