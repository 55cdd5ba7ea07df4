"""What carriers report about messages that they took, and the channels that are closed for it.

Beside the deliveries, and like them never rolled back with the chain. Only what bears a genuine tag comes
here (`duly.domain.tag`). No column has place for an address (PRIV-1): what is closed is a borrower's channel,
as long as the commitment on chain is the one that the message went to.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Engine,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)

from duly.domain.consent import Channel
from duly.domain.report import Verdict
from duly.store import schema
from duly.store.database import insert_once, reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

metadata = MetaData()

reports_table = Table(
    "reports",
    metadata,
    # Of the report as it came: so each counts once.
    Column("digest", LargeBinary, primary_key=True),
    # The first notice of the message that it is about.
    Column("notice", LargeBinary, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("reports_of_notice", "notice"),
)
closed_table = Table(
    "closed_channels",
    metadata,
    Column("borrower", Text, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    # Whether consent was revoked on chain.
    Column("revoked", SmallInteger, nullable=False),
    PrimaryKeyConstraint("borrower", "channel"),
)


@dataclass(frozen=True, slots=True)
class Reported:
    """A report about a message, by its first notice. `code` is the carrier's, such as 5.1.1; `at` a time of
    the service's clock, UTC seconds.
    """

    digest: bytes
    notice: bytes
    channel: Channel
    verdict: Verdict
    code: str
    at: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A borrower's channel that nothing more is sent on, while the commitment on chain is this one."""

    borrower: str
    channel: Channel
    commitment: bytes
    verdict: Verdict
    at: int


class ReportStore:
    """Reports, and the channels that they closed, in the read model's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        SERVICE.prepare(engine)

    def record(self, reported: Reported, closes: Iterable[Closed] = ()) -> bool:
        """Keep a report and close channels, in one transaction. False where it was kept before."""
        values = {
            "digest": reported.digest,
            "notice": reported.notice,
            "channel": int(reported.channel),
            "verdict": reported.verdict.value,
            "code": reported.code,
            "at": reported.at,
        }
        with writing(self._engine) as connection:
            table = reports_table
            fresh = insert_once(connection, table).returning(table.c.digest)
            if connection.execute(fresh, values).first() is None:
                return False
            for each in closes:
                connection.execute(
                    delete(closed_table).where(
                        closed_table.c.borrower == each.borrower, closed_table.c.channel == int(each.channel)
                    )
                )
                connection.execute(
                    insert(closed_table).values(
                        borrower=each.borrower,
                        channel=int(each.channel),
                        commitment=each.commitment,
                        verdict=each.verdict.value,
                        at=each.at,
                        revoked=0,
                    )
                )
        return True

    def reports(self, notice: bytes | None = None, limit: int | None = None) -> list[Reported]:
        """Reports, the latest first."""
        table = reports_table
        query = select(table).order_by(table.c.at.desc(), table.c.digest).limit(limit)
        if notice is not None:
            query = query.where(table.c.notice == notice)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            Reported(row.digest, row.notice, Channel(row.channel), Verdict(row.verdict), row.code, row.at)
            for row in rows
        ]

    def counts(self) -> dict[tuple[Channel, Verdict], int]:
        """How many reports say what of which channel."""
        table = reports_table.c
        query = select(table.channel, table.verdict, func.count()).group_by(table.channel, table.verdict)
        with reading(self._engine) as connection:
            return {(Channel(channel), Verdict(what)): n for channel, what, n in connection.execute(query)}

    def unrevoked(self) -> list[Closed]:
        """Closed channels to which consent was not revoked on chain yet."""
        query = select(closed_table).where(closed_table.c.revoked == 0).order_by(closed_table.c.at)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            Closed(row.borrower, Channel(row.channel), row.commitment, Verdict(row.verdict), row.at)
            for row in rows
        ]

    def revoked(self, closed: Closed) -> None:
        """Record that consent was revoked, or that there was none left to revoke."""
        table = closed_table.c
        with writing(self._engine) as connection:
            connection.execute(
                update(closed_table)
                .where(
                    table.borrower == closed.borrower,
                    table.channel == int(closed.channel),
                    table.commitment == closed.commitment,
                )
                .values(revoked=1)
            )

    def closed(self) -> dict[str, frozenset[Channel]]:
        """The channels that nothing may be sent on, by borrower.

        One that was closed is open again once its borrower registers another contact, or consents anew after
        it was revoked.
        """
        closed, commitments, profiles = closed_table.c, schema.commitments.c, schema.profiles.c
        query = (
            select(closed.borrower, closed.channel, closed.revoked, profiles.consented)
            .join_from(
                closed_table,
                schema.commitments,
                and_(
                    commitments.borrower == closed.borrower,
                    commitments.channel == closed.channel,
                    commitments.commitment == closed.commitment,
                ),
            )
            .join(schema.profiles, profiles.borrower == closed.borrower)
        )
        found: dict[str, frozenset[Channel]] = {}
        with reading(self._engine) as connection:
            for borrower, channel, revoked, consented in connection.execute(query):
                if not (revoked and consented >> channel & 1):
                    found[borrower] = found.get(borrower, frozenset()) | {Channel(channel)}
        return found
