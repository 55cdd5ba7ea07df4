"""The words of notices, and what became of each notice that the gate let through.

These tables lie beside the read model's and are never rolled back with it: what was sent stays sent, whatever
the chain does. There is no column for anybody's name or contact (BORROWER-1, PRIV-1).

A notice's way (GATE-2):

    pending ──► claimed ──► sent
       │  ▲        │  ├───► dropped      certainly not sent, for a reason; until a person requeues it
       │  └ deferred ◄┤                  certainly not sent; tried again later
       │              └───► uncertain    perhaps sent: for a person to look at, never sent again
       └──────► dropped

A notice is pending while there is no row. The claim is committed, down to the disk, before anything is sent.
Who dies with a claim leaves it as uncertain. Words and claims lie in one database: whoever loses the claims
has lost the words too, and sends nothing.

Whatever engine queues notices is told only which to look at: what may be done is decided by these rows alone.

A message holds one notice, or several reminders to one person. These go their way together, step by step in
one transaction each.
"""

import os
import platform
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Any, Final, NamedTuple

from eth_hash.auto import keccak
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Select,
    SmallInteger,
    Table,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
    update,
)

from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.notice import Kind, Notice
from duly.store import schema
from duly.store.database import insert_once, reading, rewrite, writing
from duly.store.leases import is_gone
from duly.store.migrations import SERVICE
from duly.store.schema import Amount, BigInteger

LONGEST_SEND: Final = 600
"""Seconds after which nobody can still be at sending what they claimed; channels give up long before."""

LONGEST_UNINDEXED: Final = 7_200
"""Seconds after which a notice that was let through but never indexed is taken for reorganised away."""

_LOOK_BACK: Final = 3 * DAY

WORKER_LOST: Final = "worker_lost"
"""Nobody recorded what became of the claim."""
TOLD: Final = "told by a person"
"""A person found out what became of it; that is the end of it."""

Also = Callable[[Connection], None]
"""Something more to be done in a transaction."""

metadata = MetaData()

contents_table = Table(
    "contents",
    metadata,
    Column("content_hash", LargeBinary, primary_key=True),
    Column("notice", LargeBinary, nullable=False),
    Column("loan", LargeBinary, nullable=False),
    Column("message", LargeBinary),
    Column("language", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("kept_at", BigInteger, nullable=False),
    Index("contents_of_loan", "loan"),
)

Index(
    "contents_of_message",
    contents_table.c.message,
    sqlite_where=contents_table.c.message.is_not(None),
    postgresql_where=contents_table.c.message.is_not(None),
)

# The notices that messages tell of; those of one alone are left out.
together_table = Table(
    "together",
    metadata,
    Column("message", LargeBinary, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("notice", LargeBinary, nullable=False),
    Column("loan", LargeBinary, nullable=False),
    PrimaryKeyConstraint("message", "number"),
    Index("together_of_loan", "loan"),
)

deliveries_table = Table(
    "deliveries",
    metadata,
    Column("notice", LargeBinary, primary_key=True),
    Column("loan", LargeBinary, nullable=False),
    Column("borrower", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("instalment", Integer, nullable=False),
    Column("amount", Amount, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("served_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("not_before", BigInteger),
    Column("worker", Text),
    Column("claimed_wall", BigInteger),
    # A random word for each time that it was claimed: by them the vault knows this database again.
    Column("claims", Text),
    Column("reference", Text),
    Index("deliveries_by_state", "state", "at", "notice"),
    Index("deliveries_by_time", "served_at"),
)

# The loans about which the planner found something to say: for a server in another process.
due_table = Table(
    "due",
    metadata,
    Column("loan", LargeBinary, primary_key=True),
)

# What was sent to the gate and let through, until it is indexed: on live chains that takes a while.
handed_table = Table(
    "handed",
    metadata,
    Column("notice", LargeBinary, primary_key=True),
    Column("borrower", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)


Claims = tuple[str, ...]
"""A random word for each time that a message was claimed, this one's last."""


class NoSuchDelivery(DulyError):
    """There is no such delivery, or it does not stand where it would have to."""


class State(StrEnum):
    """Where the delivery of a notice stands; see the module's picture."""

    CLAIMED = "claimed"
    DEFERRED = "deferred"
    SENT = "sent"
    DROPPED = "dropped"
    UNCERTAIN = "uncertain"


class Told(NamedTuple):
    """A notice that a message tells of: the id under which it was to be served, and its loan."""

    notice: bytes
    loan: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """The words of a message that were kept before its notices were served.

    `notices` are all that it tells of, in their order. Where these are to several addresses of a person, the
    same words are kept for each with another salt: `of` is the first notice to the address, whose id the salt
    was derived for. `language` is a code such as en or zh, `kept_at` a time in UTC seconds.
    """

    content_hash: bytes
    of: Told
    notices: tuple[Told, ...]
    language: str
    subject: str
    body: str
    kept_at: int

    @property
    def message(self) -> bytes | None:
        """What the contents of one message have in common; None where it tells of one notice alone."""
        if len(self.notices) == 1:
            return None
        return keccak(b"".join(each.notice for each in self.notices))


@dataclass(frozen=True, slots=True)
class Served:
    """A notice that the gate let through, from its event. Amount in the smallest unit, time in UTC."""

    id: bytes
    loan: bytes
    borrower: str
    kind: Kind
    instalment: int
    amount: int
    channel: Channel
    content_hash: bytes
    served_at: int

    @property
    def notice(self) -> Notice:
        return Notice(self.loan, self.kind, self.instalment, self.amount, self.channel, self.content_hash)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notice.

    `at` is when it came to where it stands, `not_before` when a deferred one may be tried again (UTC seconds
    of the service's clock), `attempts` how often it was claimed, `reference` what the provider that took it
    calls it, `claimed_wall` when it was last claimed, by the clock of the machine.
    """

    notice: Served
    state: State
    reason: str | None
    attempts: int
    at: int
    not_before: int | None
    reference: str | None = None
    claimed_wall: int | None = field(default=None, compare=False)


class Handed(NamedTuple):
    """A notice that the gate let through a moment ago (`at`, UTC seconds)."""

    notice: bytes
    borrower: str
    kind: Kind
    content_hash: bytes
    at: int


class Outcome(NamedTuple):
    """What became of a claimed message: SENT, DROPPED, DEFERRED until `not_before`, or UNCERTAIN."""

    notices: tuple[Served, ...]
    state: State
    reason: str | None = None
    not_before: int | None = None
    reference: str | None = None


class Backlog(NamedTuple):
    """What is not done. waiting: served, and neither claimed nor dropped; since: when the first of them was
    served, UTC seconds. dead: dropped for a certain reason.
    """

    waiting: int
    since: int | None
    deferred: int
    claimed: int
    uncertain: int
    dead: int


class NoticeStore:
    """Words, claims and deliveries. `worker` names the process in its claims."""

    def __init__(self, engine: Engine, *, worker: str | None = None) -> None:
        self._engine = engine
        self.worker = worker or f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._looked_at: int | None = None
        SERVICE.prepare(engine)

    # ------------------------------------------------------------------------------------------- words

    def keep(self, contents: Iterable[Content]) -> None:
        """Keep words, all or none; those that are kept already stay as they are."""
        new = {content.content_hash: content for content in contents}
        if not new:
            return
        with writing(self._engine) as connection:
            for known in _in_chunks(connection, contents_table.c.content_hash, list(new)):
                del new[known]
            together = {each.message: each.notices for each in new.values() if each.message}
            for known in set(_in_chunks(connection, together_table.c.message, list(together))):
                del together[known]
            if new:
                rows = [_content_row(each) for each in new.values()]
                connection.execute(insert_once(connection, contents_table), rows)
            if together:
                connection.execute(
                    insert_once(connection, together_table),
                    [
                        {"message": message, "number": number, **told._asdict()}
                        for message, notices in together.items()
                        for number, told in enumerate(notices)
                    ],
                )

    def content(self, content_hash: bytes) -> Content | None:
        """The words with this hash; None where they were never kept."""
        return self.words([content_hash]).get(content_hash)

    def words(self, content_hashes: Collection[bytes]) -> dict[bytes, Content]:
        """The words with these hashes; those that were never kept are left out."""
        contents, together = contents_table, together_table
        found: dict[bytes, Content] = {}
        with reading(self._engine) as connection:
            for some in _chunks(content_hashes):
                rows = connection.execute(select(contents).where(contents.c.content_hash.in_(some))).all()
                messages = {row.message for row in rows if row.message is not None}
                notices: dict[bytes, list[Told]] = {}
                if messages:
                    query = select(together).where(together.c.message.in_(messages))
                    for row in connection.execute(query.order_by(together.c.message, together.c.number)):
                        notices.setdefault(row.message, []).append(Told(row.notice, row.loan))
                for row in rows:
                    of = Told(row.notice, row.loan)
                    all_of_it = (of,) if row.message is None else tuple(notices.get(row.message, ()))
                    found[row.content_hash] = Content(
                        row.content_hash, of, all_of_it, row.language, row.subject, row.body, row.kept_at
                    )
        return found

    def contents(self, loans: Sequence[bytes]) -> list[Content]:
        """All words that are kept for the borrowers of loans, in the order of keeping. What tells of several
        loans is kept once for each address: one of the address's loans has to be among them.
        """
        table = contents_table.c
        with reading(self._engine) as connection:
            hashes: dict[bytes, int] = {}
            for start in range(0, len(loans), 500):
                query = select(table.content_hash, table.kept_at).where(
                    table.loan.in_(loans[start : start + 500])
                )
                hashes |= {row.content_hash: row.kept_at for row in connection.execute(query)}
        return [content for each in sorted(hashes, key=hashes.__getitem__) if (content := self.content(each))]

    def forget_words(self, loans: Sequence[bytes]) -> None:
        """Delete the words about loans, down to the bytes of the database's files, and what else the same
        messages said. What became of each notice stays: none is ever sent again.

        PostgreSQL's write-ahead log, its copies and standbys hold them until they are recycled.
        """
        if not loans:
            return
        sqlite_here = self._engine.dialect.name == "sqlite"
        with writing(self._engine) as connection:
            if sqlite_here:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for start in range(0, len(loans), 500):
                some = loans[start : start + 500]
                connection.execute(delete(contents_table).where(contents_table.c.loan.in_(some)))
                together = together_table.c
                messages = list(set(_in_chunks(connection, together.loan, some, together.message)))
                for first in range(0, len(messages), 500):
                    for table in (contents_table, together_table):
                        which = table.c.message.in_(messages[first : first + 500])
                        connection.execute(delete(table).where(which))
        if sqlite_here:
            # The write-ahead log holds what was overwritten until it is emptied.
            raw = self._engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                raw.close()
        else:
            rewrite(self._engine, contents_table, together_table)

    # ---------------------------------------------------------------------------------------- serving

    def hand(self, handed: Iterable[Handed]) -> None:
        """Remember what the gate let through, until it is indexed."""
        new = {each.notice: each for each in handed}
        if not new:
            return
        table = handed_table
        latest = max(each.at for each in new.values())
        with writing(self._engine) as connection:
            connection.execute(
                delete(table).where(
                    or_(table.c.notice.in_(list(new)), table.c.at <= latest - LONGEST_UNINDEXED)
                )
            )
            connection.execute(
                insert_once(connection, table),
                [each._asdict() | {"kind": int(each.kind)} for each in new.values()],
            )

    def forget_indexed(self) -> None:
        """Forget of what the gate let through what is indexed by now: from then on the read model tells."""
        table, notices = handed_table, schema.notices
        with reading(self._engine) as connection:
            query = select(table.c.notice).join(notices, notices.c.id == table.c.notice)
            indexed = connection.execute(query).scalars().all()
        if indexed:
            with writing(self._engine) as connection:
                connection.execute(delete(table).where(table.c.notice.in_(indexed)))

    def handed(self, now: int) -> list[Handed]:
        """What the gate let through and is not indexed yet."""
        table = handed_table
        query = (
            select(table)
            .select_from(table.outerjoin(schema.notices, schema.notices.c.id == table.c.notice))
            .where(schema.notices.c.id.is_(None), table.c.at > now - LONGEST_UNINDEXED)
            .order_by(table.c.at, table.c.notice)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [Handed(row.notice, row.borrower, Kind(row.kind), row.content_hash, row.at) for row in rows]

    # --------------------------------------------------------------------------------------- delivering

    def pending(self, server: str, now: int) -> list[tuple[Served, ...]]:
        """Messages of notices served by this server that are not claimed or dropped, or may be tried again,
        in the order of serving.

        The first call looks at everything, later ones at what is younger than three days before the last.
        """
        since = None if self._looked_at is None else min(self._looked_at, now) - _LOOK_BACK
        query, number = _pending(server, now), schema.notices.c.block_number
        with reading(self._engine) as connection:
            if since is None:
                rows = list(connection.execute(query))
            else:
                # Blocks are in the order of time: this walks back over the young ones alone.
                old = connection.execute(
                    select(func.coalesce(func.max(schema.blocks.c.number), -1)).where(
                        schema.blocks.c.number.in_(
                            select(schema.blocks.c.number)
                            .where(schema.blocks.c.timestamp < since)
                            .order_by(schema.blocks.c.number.desc())
                            .limit(1)
                        )
                    )
                ).scalar_one()
                # A person may have requeued an older one.
                deferred = deliveries_table.c.state == State.DEFERRED.value
                rows = list(connection.execute(query.where(number <= old, deferred)))
                rows += connection.execute(query.where(number > old))
        self._looked_at = now
        return _messages(rows)

    def pending_of(self, notices: Collection[bytes], server: str, now: int) -> list[tuple[Served, ...]]:
        """The same of these notices, and of those in one message with them."""
        contents, query = contents_table, _pending(server, now)
        found: list[tuple[Served, ...]] = []
        with reading(self._engine) as connection:
            for some in _chunks(notices):
                of = schema.notices.c.id.in_(some)
                rows = connection.execute(query.where(of)).all()
                if messages := {row.message for row in rows if row.message is not None}:
                    rows = connection.execute(query.where(or_(of, contents.c.message.in_(messages)))).all()
                found += _messages(rows)
        return found

    def unfinished(self, notices: Collection[bytes]) -> dict[bytes, int | None]:
        """Of these notices, those that are on the chain and were neither claimed nor dropped, with the time
        (UTC seconds) before which they are not tried again, if there is one.
        """
        served, deliveries = schema.notices, deliveries_table
        query = (
            select(served.c.id, deliveries.c.not_before)
            .select_from(served.outerjoin(deliveries, deliveries.c.notice == served.c.id))
            .where(or_(deliveries.c.notice.is_(None), deliveries.c.state == State.DEFERRED.value))
        )
        with reading(self._engine) as connection:
            return {
                row.id: row.not_before
                for some in _chunks(notices)
                for row in connection.execute(query.where(served.c.id.in_(some)))
            }

    def unclaimed(self, connection: Connection, notices: Mapping[bytes, bytes]) -> set[bytes]:
        """Of notices, each with its content's hash, those whose words are kept here and of which nothing is
        known yet: what is to be delivered from here. In a transaction of the caller's.
        """
        contents, deliveries = contents_table.c, deliveries_table.c
        kept = set(_in_chunks(connection, contents.content_hash, list(set(notices.values()))))
        mine = [notice for notice, content_hash in notices.items() if content_hash in kept]
        return set(mine) - set(_in_chunks(connection, deliveries.notice, mine))

    def drop(self, notices: Sequence[Served], reason: str, now: int) -> bool:
        """Record that an unclaimed message will not be sent. False where somebody else took it."""
        with writing(self._engine) as connection:
            (taken,) = self._take(connection, [notices], now, State.DROPPED, reason)
        return taken is not None

    def turn(
        self, done: Sequence[Outcome], messages: Sequence[Sequence[Served]], now: int
    ) -> list[Claims | None]:
        """Record what became of the last claims, and claim the next messages, in one transaction.

        Returns: of each message that is this worker's to send now, by what the vault knows it; None where
        somebody else took it.
        """
        with writing(self._engine) as connection:
            # Most were sent: that is one statement.
            alike: dict[tuple[State, str | None, int | None, str | None], list[Served]] = {}
            for outcome in done:
                alike.setdefault(outcome[1:], []).extend(outcome.notices)
            for what, notices in alike.items():
                self._settle(connection, Outcome(tuple(notices), *what), now)
            return self._take(connection, messages, now, State.CLAIMED)

    def claim(self, notices: Sequence[Served], now: int) -> bool:
        """Claim a message: once this returned True it may be sent once, by this worker alone of all that work
        on this database.
        """
        (claims,) = self.turn((), [notices], now)
        return claims is not None

    def settle(self, outcome: Outcome, now: int) -> None:
        """Record what became of a message that this worker claimed."""
        self.turn([outcome], (), now)

    def lose(self) -> int:
        """Let the claims that nobody can be at any more stand as uncertain; how many there were."""
        table = deliveries_table
        with reading(self._engine) as connection:
            query = select(table.c.notice, table.c.worker, table.c.claimed_wall)
            rows = connection.execute(query.where(table.c.state == State.CLAIMED.value)).all()
        lost = [row for row in rows if self._is_dead(row.worker, row.claimed_wall)]
        if not lost:
            return 0
        count = 0
        with writing(self._engine) as connection:
            for row in lost:
                count += connection.execute(
                    update(table)
                    .where(
                        table.c.notice == row.notice,
                        table.c.state == State.CLAIMED.value,
                        table.c.worker == row.worker,
                    )
                    .values(state=State.UNCERTAIN.value, reason=WORKER_LOST)
                ).rowcount
        return count

    def _take(
        self,
        connection: Connection,
        messages: Sequence[Sequence[Served]],
        now: int,
        state: State,
        reason: str | None = None,
    ) -> list[Claims | None]:
        """Take of each message all notices, or none."""
        if not messages:
            return []
        table = deliveries_table
        claim = state is State.CLAIMED
        values: dict[str, Any] = {
            "state": state.value,
            "reason": reason,
            "at": now,
            "not_before": None,
            "worker": self.worker,
            "claimed_wall": int(time.time()) if claim else None,
        }
        # What is there already, as a rule nothing, is taken row by row.
        ids = [notice.id for notices in messages for notice in notices]
        there = set(_in_chunks(connection, table.c.notice, ids))
        fresh = [notices for notices in messages if there.isdisjoint(each.id for each in notices)]
        rows = [
            _delivery_row(each) | values | {"attempts": int(claim), "claims": word}
            for some in fresh
            for word in [_word(claim)]
            for each in some
        ]
        words = {row["notice"]: row["claims"] for row in rows}
        taken = set()
        if rows:
            query = insert_once(connection, table).returning(table.c.notice)
            # In one order, so that two workers never wait for each other.
            rows.sort(key=itemgetter("notice"))
            taken = set(connection.execute(query, rows).scalars())
        found: list[Claims | None] = []
        for notices in messages:
            wanted = {each.id for each in notices}
            if wanted <= taken:
                found.append(_claims([words[notices[0].id]]))
                continue
            if part := wanted & taken:
                # Somebody else was quicker with a part of it.
                connection.execute(delete(table).where(table.c.notice.in_(part)))
            found.append(None if part else self._take_again(connection, notices, values, claim, now))
        return found

    def _take_again(
        self,
        connection: Connection,
        notices: Sequence[Served],
        values: dict[str, Any],
        claim: bool,
        now: int,
    ) -> Claims | None:
        """Take a message of which something is deferred: all of it or nothing."""
        table, word = deliveries_table, _word(claim)
        more = {"claims": func.coalesce(table.c.claims + " ", "") + word} if word else {}
        with connection.begin_nested() as attempt:
            for notice in notices:
                row = _delivery_row(notice) | values | {"attempts": int(claim), "claims": word}
                # PostgreSQL's driver does not count what was inserted.
                fresh = insert_once(connection, table).returning(table.c.notice)
                if connection.execute(fresh, row).first():
                    continue
                again = connection.execute(
                    update(table)
                    .where(
                        table.c.notice == notice.id,
                        table.c.state == State.DEFERRED.value,
                        table.c.not_before <= now,
                    )
                    .values({**values, **more, "attempts": table.c.attempts + int(claim)})
                )
                if again.rowcount != 1:
                    attempt.rollback()
                    return None
        claims = select(table.c.claims).where(table.c.notice.in_([each.id for each in notices]))
        return _claims(connection.execute(claims).scalars())

    def _settle(self, connection: Connection, outcome: Outcome, now: int) -> None:
        table = deliveries_table
        changed = connection.execute(
            update(table)
            .where(
                table.c.notice.in_([each.id for each in outcome.notices]),
                table.c.worker == self.worker,
                # Whoever was at it for too long still knows best.
                or_(table.c.state == State.CLAIMED.value, table.c.reason == WORKER_LOST),
            )
            .values(
                state=outcome.state.value,
                reason=outcome.reason,
                at=now,
                not_before=outcome.not_before,
                reference=outcome.reference,
            )
        )
        if changed.rowcount != len(outcome.notices):
            names = ", ".join(f"0x{each.id.hex()}" for each in outcome.notices)
            raise NoSuchDelivery(f"not claimed by this worker: {names}")

    def requeue(self, notice: bytes, now: int, also: Also | None = None) -> list[bytes]:
        """Let a dropped notice, and those in one message with it, be tried again: all gates are asked anew.

        Only what was certainly not sent: never one that was sent, may have been, or that a person settled.
        also: is done in the same transaction.

        Returns: the ids of the notices.
        Raises: NoSuchDelivery.
        """
        table = deliveries_table
        with writing(self._engine) as connection:
            ids = self._together(connection, notice)
            query = select(table.c.notice, table.c.state, table.c.reason).where(table.c.notice.in_(ids))
            rows = connection.execute(query).all()
            if notice not in {row.notice for row in rows}:
                raise NoSuchDelivery(f"notice 0x{notice.hex()} was neither sent nor dropped here")
            for row in rows:
                if row.state != State.DROPPED.value or row.reason == TOLD:
                    raise NoSuchDelivery(
                        f"notice 0x{row.notice.hex()} is {row.state}"
                        + (f", {row.reason}" if row.reason == TOLD else ""),
                        wanted="one that was dropped: what was sent, or may have been, is never sent again",
                        remedy="duly deliver settle records what became of an uncertain one.",
                    )
            connection.execute(
                update(table)
                .where(table.c.notice.in_([row.notice for row in rows]))
                .values(state=State.DEFERRED.value, not_before=now, attempts=0, at=now)
            )
            if also is not None:
                also(connection)
        return [row.notice for row in rows]

    def _together(self, connection: Connection, notice: bytes) -> list[bytes]:
        """A notice and those that went, or were to go, out in one message with it."""
        deliveries, contents, together = deliveries_table.c, contents_table.c, together_table.c
        message = (
            select(contents.message)
            .join(deliveries_table, deliveries.content_hash == contents.content_hash)
            .where(deliveries.notice == notice)
        )
        others = connection.execute(select(together.notice).where(together.message.in_(message))).scalars()
        return [notice, *(other for other in others if other != notice)]

    # ------------------------------------------------------------------------------------- what is due

    def note_due(self, loans: Collection[bytes]) -> None:
        """Let a server in another process know about which loans there is something to say now."""
        with writing(self._engine) as connection:
            connection.execute(delete(due_table))
            if loans:
                connection.execute(insert_once(connection, due_table), [{"loan": loan} for loan in loans])

    def take_due(self) -> list[bytes]:
        """The loans about which there was something to say when that was last noted, once."""
        with writing(self._engine) as connection:
            loans = list(connection.execute(select(due_table.c.loan)).scalars())
            if loans:
                connection.execute(delete(due_table))
        return loans

    # ------------------------------------------------------------------------------------------ looking

    def deliveries(
        self, *, states: Iterable[State] | None = None, loan: bytes | None = None, limit: int | None = None
    ) -> list[Delivery]:
        """What became of notices, the latest first."""
        query = select(deliveries_table).order_by(
            deliveries_table.c.at.desc(), deliveries_table.c.served_at.desc(), deliveries_table.c.notice
        )
        if states is not None:
            query = query.where(deliveries_table.c.state.in_([state.value for state in states]))
        if loan is not None:
            query = query.where(deliveries_table.c.loan == loan)
        with reading(self._engine) as connection:
            return [delivery_of_row(row) for row in connection.execute(query.limit(limit))]

    def delivery(self, notice: bytes) -> Delivery | None:
        """What became of one notice; None while it is pending."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(deliveries_table).where(deliveries_table.c.notice == notice)
            ).first()
        return None if row is None else delivery_of_row(row)

    def deliveries_of(self, notices: Sequence[bytes]) -> list[Delivery]:
        """What became of these notices; those that are pending are left out."""
        table, found = deliveries_table, list[Delivery]()
        with reading(self._engine) as connection:
            for start in range(0, len(notices), 500):
                query = select(table).where(table.c.notice.in_(notices[start : start + 500]))
                found += map(delivery_of_row, connection.execute(query))
        return found

    def message_of(self, beginning: bytes) -> list[Delivery]:
        """What went out in one message, by the beginning of its first notice's id; nothing where nothing
        did.
        """
        table = deliveries_table
        after = (int.from_bytes(beginning, "big") + 1).to_bytes(len(beginning) + 1, "big")[1:]
        query = select(table.c.notice).where(table.c.notice >= beginning)
        if any(after):
            query = query.where(table.c.notice < after)
        with reading(self._engine) as connection:
            first = connection.execute(query).scalars().all()
            found = self._together(connection, first[0]) if len(first) == 1 else []
        return self.deliveries_of(found)

    def counts(self) -> dict[State, int]:
        """How many deliveries stand where."""
        query = select(deliveries_table.c.state, func.count()).group_by(deliveries_table.c.state)
        with reading(self._engine) as connection:
            return {State(state): count for state, count in connection.execute(query)}

    def backlog(self, since: int, dead: str) -> Backlog:
        """What is to be delivered from here and is not, of what was served since a moment (UTC seconds).

        dead: the reason for which dropped notices count as dead, whenever they were served.
        """
        notices, deliveries, contents = schema.notices, deliveries_table, contents_table
        old = (
            select(func.max(schema.blocks.c.number)).where(schema.blocks.c.timestamp < since)
        ).scalar_subquery()
        waiting = (
            select(func.count(), func.min(notices.c.timestamp))
            .select_from(
                notices.join(contents, contents.c.content_hash == notices.c.content_hash).outerjoin(
                    deliveries, deliveries.c.notice == notices.c.id
                )
            )
            .where(notices.c.block_number > func.coalesce(old, -1), deliveries.c.notice.is_(None))
        )
        unsure = State.DEFERRED.value, State.CLAIMED.value, State.UNCERTAIN.value
        states = (
            select(deliveries.c.state, func.count())
            .where(deliveries.c.state.in_(unsure))
            .group_by(deliveries.c.state)
        )
        lost = select(func.count()).where(
            deliveries.c.state == State.DROPPED.value, deliveries.c.reason == dead
        )
        with reading(self._engine) as connection:
            count, first = connection.execute(waiting).one()
            found = {row[0]: row[1] for row in connection.execute(states)}
            gone = connection.execute(lost).scalar_one()
        deferred, claimed, uncertain = (found.get(state, 0) for state in unsure)
        return Backlog(count, first, deferred, claimed, uncertain, gone)

    def uncertain(self) -> list[Delivery]:
        """Notices that may have been sent or not, for a person to look at: claims whose worker died, too."""
        table = deliveries_table
        query = (
            select(table)
            .where(table.c.state.in_([State.UNCERTAIN.value, State.CLAIMED.value]))
            .order_by(table.c.at, table.c.notice)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            delivery_of_row(row)
            for row in rows
            if row.state == State.UNCERTAIN or self._is_dead(row.worker, row.claimed_wall)
        ]

    def resolve(self, notice: bytes, *, sent: bool, now: int, also: Also | None = None) -> int:
        """Record what a person found out about the message that an uncertain notice went out in. It is not
        sent again either way. also: is done in the same transaction, where anything is recorded.

        Returns: how many notices it tells of.
        Raises: NoSuchDelivery.
        """
        if notice not in {found.notice.id for found in self.uncertain()}:
            raise NoSuchDelivery(f"the delivery of notice 0x{notice.hex()} is not uncertain")
        table = deliveries_table
        with writing(self._engine) as connection:
            resolved = connection.execute(
                update(table)
                .where(
                    table.c.notice.in_(self._together(connection, notice)),
                    table.c.state.in_([State.UNCERTAIN.value, State.CLAIMED.value]),
                )
                .values(state=(State.SENT if sent else State.DROPPED).value, reason=TOLD, at=now)
            )
            if also is not None and resolved.rowcount:
                also(connection)
        return resolved.rowcount

    def vanished(self, since: int = 0) -> list[Delivery]:
        """Notices that were sent, perhaps sent or being sent, whose event is not on the chain any more.

        They still count: the borrower was contacted. When the event comes back it has the same id, and
        nothing is sent again. since: leave out those served before.
        """
        table = deliveries_table
        query = (
            select(table)
            .select_from(table.outerjoin(schema.notices, schema.notices.c.id == table.c.notice))
            .where(
                table.c.served_at >= since,
                schema.notices.c.id.is_(None),
                table.c.state.in_([State.SENT.value, State.UNCERTAIN.value, State.CLAIMED.value]),
            )
            .order_by(table.c.served_at, table.c.notice)
        )
        with reading(self._engine) as connection:
            return [delivery_of_row(row) for row in connection.execute(query)]

    def _is_dead(self, worker: str | None, claimed_wall: int | None) -> bool:
        if worker == self.worker:
            return False
        if worker is None or claimed_wall is None or time.time() - claimed_wall > LONGEST_SEND:
            return True
        # Of this very process, but not this worker: one that it replaced.
        return is_gone(worker) or worker.rpartition(":")[0] == self.worker.rpartition(":")[0]


def _pending(server: str, now: int) -> Select[Any]:
    """Notices that may be delivered now, each with the message that it is in."""
    notices, deliveries, contents = schema.notices, deliveries_table, contents_table
    return (
        _served_columns()
        .add_columns(contents.c.message)
        .select_from(
            notices.outerjoin(deliveries, deliveries.c.notice == notices.c.id).outerjoin(
                contents, contents.c.content_hash == notices.c.content_hash
            )
        )
        .where(
            notices.c.server == server,
            or_(
                deliveries.c.notice.is_(None),
                and_(deliveries.c.state == State.DEFERRED.value, deliveries.c.not_before <= now),
            ),
        )
        .order_by(notices.c.block_number, notices.c.log_index)
    )


def _messages(rows: Iterable[Any]) -> list[tuple[Served, ...]]:
    messages: dict[bytes, list[Served]] = {}
    for row in rows:
        messages.setdefault(row.message or row.id, []).append(_served(row))
    return [tuple(notices) for notices in messages.values()]


def _served_columns() -> Select[Any]:
    notices = schema.notices
    return select(
        notices.c.id,
        notices.c.loan,
        notices.c.borrower,
        notices.c.kind,
        notices.c.instalment,
        notices.c.amount,
        notices.c.channel,
        notices.c.content_hash,
        notices.c.timestamp,
    )


def _served(row: Any) -> Served:
    return Served(
        row.id,
        row.loan,
        row.borrower,
        Kind(row.kind),
        row.instalment,
        row.amount,
        Channel(row.channel),
        row.content_hash,
        row.timestamp,
    )


def _delivery_row(notice: Served) -> dict[str, Any]:
    return {
        "notice": notice.id,
        "loan": notice.loan,
        "borrower": notice.borrower,
        "kind": int(notice.kind),
        "instalment": notice.instalment,
        "amount": notice.amount,
        "channel": int(notice.channel),
        "content_hash": notice.content_hash,
        "served_at": notice.served_at,
    }


def delivery_of_row(row: Any) -> Delivery:
    """A delivery, of a row of the table."""
    notice = Served(
        row.notice,
        row.loan,
        row.borrower,
        Kind(row.kind),
        row.instalment,
        row.amount,
        Channel(row.channel),
        row.content_hash,
        row.served_at,
    )
    return Delivery(
        notice,
        State(row.state),
        row.reason,
        row.attempts,
        row.at,
        row.not_before,
        row.reference,
        row.claimed_wall,
    )


def _content_row(content: Content) -> dict[str, Any]:
    return {
        "content_hash": content.content_hash,
        **content.of._asdict(),
        "message": content.message,
        "language": content.language,
        "subject": content.subject,
        "body": content.body,
        "kept_at": content.kept_at,
    }


def _word(claim: bool) -> str | None:
    return secrets.token_hex(8) if claim else None


def _claims(of_notices: Iterable[str | None]) -> Claims:
    # What is in one message now was not always: the words of all, and of each the last is the same.
    words = [words.split() for words in of_notices if words]
    last = {some[-1] for some in words}
    return (*{word for some in words for word in some[:-1]}, *last)


def _in_chunks(
    connection: Connection,
    column: Column[Any],
    values: Collection[Any],
    wanted: Column[Any] | None = None,
) -> list[Any]:
    """Of the rows whose column has one of some values, that column or the wanted one."""
    what = column if wanted is None else wanted
    return [
        found
        for some in _chunks(values)
        for found in connection.execute(select(what).where(column.in_(some))).scalars()
    ]


def _chunks(values: Collection[Any]) -> Iterator[list[Any]]:
    some = list(values)
    for start in range(0, len(some), 500):
        yield some[start : start + 500]
