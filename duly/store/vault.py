"""The contact vault: each borrower's own address, under a key of the borrower's own.

A database apart from the read model, on SQLite or PostgreSQL. There is a place for the address at which a
borrower wants to be reached, one a channel, and for nothing and nobody else (BORROWER-1).

    master key ──HKDF──┬─► wraps the borrower's key ──HKDF──┬─► seals the borrower's address (AES-256-GCM)
                       ├─► person index                     ├─► salts of commitments and content hashes
                       ├─► wraps the vault's own key        └─► hashes of codes
                       └─► check value        └──HKDF──► hashes for the limit of codes, seals of the log

Whatever the chain keeps about a contact is a hash salted from the borrower's key, so `erase` makes it
meaningless (PRIV-1). What a backup still holds stays under the master key: rotate that and destroy the old
one, and a backup cannot be read either.

An address is used once its borrower has proved it, by a code that was sent there (GATE-1's exception); until
then the vault does not tell the commitment, without which there is nothing to register on chain. Every
reading of an address is told in a log that is only ever added to. The address that a notice goes to is given
to one sender alone, whatever databases there are of what was sent (GATE-2).
"""

import getpass
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_hash.auto import keccak
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.domain.preferences import NO_PREFERENCES, Preferences
from duly.store.addresses import InvalidContact, masked, normalise
from duly.store.database import (
    DatabaseError,
    file_of,
    insert_once,
    open_engine,
    reading,
    rewrite,
    writing,
)
from duly.store.masterkey import (
    KEY_BYTES,
    InvalidMasterKey,
    MasterKey,
    NoMasterKey,
    VaultError,
    derive,
)
from duly.store.migrations import VAULT
from duly.store.schema import BigInteger

__all__ = [
    "InvalidContact",
    "InvalidMasterKey",
    "MasterKey",
    "NoMasterKey",
    "Vault",
    "VaultError",
    "masked",
    "normalise",
]

CODE_SECONDS: Final = 900
"""How long a code is good for."""
CODE_TRIES: Final = 5
"""How often a code may be tried."""
CODES: Final = ((3, 3_600), (5, 86_400))
"""How many codes may be sent in how many seconds: to one address, and to one borrower."""

_PATIENCE: Final = 30
"""Seconds to wait for another program that is writing: it may be rewriting the whole vault."""
_LONGEST: Final = max(seconds for _, seconds in CODES)
_NONCE_BYTES: Final = 12
CLAIMED_SECONDS: Final = 3 * 86_400
"""How long it is known who has the address of a notice; it is delivered within a day of the borrower's."""
_FORGETS_EVERY: Final = 3_600
_BATCH: Final = 200
"""Borrowers in one transaction of a rotation."""

metadata = MetaData()

# One row. `generation` counts the master keys; while a rotation runs the columns `next_…` are set, and
# `bridge` holds what the old key does, under the new one.
vault_table = Table(
    "vault",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("key_check", LargeBinary, nullable=False),
    Column("own_key", LargeBinary, nullable=False),
    Column("next_check", LargeBinary),
    Column("next_own_key", LargeBinary),
    Column("bridge", LargeBinary),
    # How many entries the log has, sealed.
    Column("log_count", Integer, nullable=False),
    Column("log_seal", LargeBinary, nullable=False),
)
_the_row: Final = select(vault_table)
borrowers_table = Table(
    "borrowers",
    metadata,
    Column("borrower", LargeBinary(20), primary_key=True),
    Column("language", String, nullable=False),
    # As JSON; none of whoever told no wish.
    Column("preferences", String),
    Column("added_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
keys_table = Table(
    "keys",
    metadata,
    Column(
        "borrower",
        LargeBinary(20),
        ForeignKey(borrowers_table.c.borrower, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("generation", Integer, primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
contacts_table = Table(
    "contacts",
    metadata,
    Column(
        "borrower",
        LargeBinary(20),
        ForeignKey(borrowers_table.c.borrower, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("channel", Integer, primary_key=True),
    Column("sealed_address", LargeBinary, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("verified_at", BigInteger),
    Column("verified_by", String),
    sqlite_with_rowid=False,
)


def _of_a_contact() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["borrower", "channel"], [contacts_table.c.borrower, contacts_table.c.channel], ondelete="CASCADE"
    )


persons_table = Table(
    "persons",
    metadata,
    Column("borrower", LargeBinary(20), primary_key=True),
    Column("channel", Integer, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("person", LargeBinary(32), nullable=False),
    _of_a_contact(),
    Index("persons_found", "person"),
    sqlite_with_rowid=False,
)
codes_table = Table(
    "codes",
    metadata,
    Column("borrower", LargeBinary(20), primary_key=True),
    Column("channel", Integer, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    _of_a_contact(),
    sqlite_with_rowid=False,
)
# Notices, and codes while they are good, that wait for the borrower in the app; sealed like addresses.
inbox_table = Table(
    "inbox",
    metadata,
    Column(
        "borrower",
        LargeBinary(20),
        ForeignKey(borrowers_table.c.borrower, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", LargeBinary(32), primary_key=True),
    Column("sealed_letter", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    sqlite_with_rowid=False,
)
# For the limits, and for a day: to whom a code was sent, and the keyed hash of where.
sent_table = Table(
    "sent_codes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("borrower", LargeBinary(20), nullable=False),
    Column("address_hash", LargeBinary(32)),
    Column("at", BigInteger, nullable=False),
)
# To whose claim the address of a notice was given out last, for as long as the notice can be delivered.
claims_table = Table(
    "claims",
    metadata,
    Column("notice", LargeBinary(32), primary_key=True),
    Column("claim", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("claims_by_time", "at"),
    sqlite_with_rowid=False,
)
log_table = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("borrower", LargeBinary(20)),
    Column("channel", Integer),
    Column("purpose", String, nullable=False),
    Column("about", String),
    Column("by", String, nullable=False),
    Column("seal", LargeBinary(32), nullable=False),
)

_APPLICATION = 0x44756C79
"""Marks the file as a vault, so that no other database is taken for one."""


# ---------------------------------------------------------------------------------------------------- errors


class WrongMasterKey(VaultError):
    """This master key does not open this vault."""

    def __init__(self) -> None:
        super().__init__(
            "this master key does not open this vault; nothing was changed",
            wanted="the key with which the vault was made, or to which it was last rotated",
            remedy="Look at DULY_MASTER_KEY, DULY_MASTER_KEY_FILE, DULY_MASTER_KEY_KEYRING and DULY_VAULT.",
        )


class UnknownBorrower(VaultError):
    """The vault knows nothing of this borrower."""

    def __init__(self, borrower: str) -> None:
        super().__init__(
            f"the vault knows nothing of {borrower}", remedy=f"Add an address: duly vault add {borrower}."
        )


class NoSuchContact(VaultError):
    """The vault has no address of this borrower for this channel."""

    def __init__(self, borrower: str, channel: Channel) -> None:
        super().__init__(
            f"the vault has no {channel.label} address of {borrower}",
            remedy=f"Add it: duly vault add {borrower} --channel {channel.label}.",
        )


class InvalidCode(InvalidInput):
    """This is not a code."""


class CodeRefused(VaultError):
    """The code does not prove the address."""


class TooManyCodes(VaultError):
    """No more codes are sent for now: to this address, or to this borrower."""

    def __init__(self, seconds: int) -> None:
        minutes = -(-seconds // 60)
        super().__init__(
            "too many codes were sent to this address or this borrower",
            wanted=" and ".join(f"at most {most} in {time // 3600} h" for most, time in CODES),
            remedy=f"The next one can be sent in {minutes} min.",
        )
        self.seconds = seconds


class _OtherDatabase(VaultError):
    """The database is something else."""

    def __init__(self) -> None:
        super().__init__(
            f"{VAULT.setting} names another database, not a vault",
            wanted="a database of its own, empty at first",
            remedy=f"Look at {VAULT.setting}.",
        )


class AlteredLog(VaultError):
    """The log of readings was altered: entries were changed, added or taken out."""


# ----------------------------------------------------------------------------------------------------- vault


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a borrower's own key registers on chain for a contact."""

    borrower: str
    channel: Channel
    hash: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for a channel of a borrower, all but the address.

    `commitment` is what the borrower registers on chain. `language` is the one the borrower is written to in,
    `salt` the one for the purpose that was asked for. `verified`: the borrower proved the address.
    """

    borrower: str
    channel: Channel
    commitment: bytes
    language: str
    salt: bytes
    verified: bool


@dataclass(frozen=True, slots=True)
class Contact:
    """A borrower's own address for a channel, as the vault gives it out for one purpose. Not printed."""

    kept: Kept
    address: str

    def __repr__(self) -> str:
        return f"Contact({self.kept.borrower}, {self.kept.channel.name}, …)"


@dataclass(frozen=True, slots=True)
class Code:
    """A code on its way to the address that it proves. Not printed."""

    borrower: str
    channel: Channel
    address: str = field(repr=False)
    language: str
    code: str = field(repr=False)


class Reading(NamedTuple):
    """What an address is read for, such as "delivery" of a notice whose id is in `about`."""

    purpose: str
    about: str | None = None


class Handout(NamedTuple):
    """A message about to be sent, for which its addresses are asked.

    notices: all that it tells of. claims: a word for each time that the sender claimed it, this one's last.
    asked: whose address, on which channel, for what, and the purpose of the salt.
    """

    notices: tuple[bytes, ...]
    claims: tuple[str, ...]
    asked: tuple[tuple[str, Channel, Reading, bytes], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log: a reading of an address, or a change of what is kept. Never the address itself.

    `by` is the user of the operating system. `at` is by this machine's clock, UTC seconds.
    """

    number: int
    at: int
    borrower: str | None
    channel: Channel | None
    purpose: str
    about: str | None
    by: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in a borrower's in-app inbox. Not printed.

    proofs: each notice that it tells of, with the salt of its content hash; none of a code. `at` is when it
    was put there, UTC seconds.
    """

    subject: str = field(repr=False)
    body: str = field(repr=False)
    language: str
    proofs: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    at: int


@dataclass(frozen=True, slots=True)
class ContactRecord:
    """Everything that is kept of a contact, for its borrower. Not printed. Times in UTC seconds."""

    channel: Channel
    address: str = field(repr=False)
    commitment: bytes
    salt: bytes = field(repr=False)
    added_at: int
    changed_at: int
    verified_at: int | None
    verified_by: str | None
    code_sent_at: int | None


@dataclass(frozen=True, slots=True)
class BorrowerRecord:
    """Everything that is kept of a borrower, for the borrower. Times in UTC seconds."""

    borrower: str
    language: str
    preferences: Preferences
    added_at: int
    contacts: tuple[ContactRecord, ...]
    inbox: tuple[Letter, ...]
    codes_sent_at: tuple[int, ...]
    log: tuple[Entry, ...]


class _Keys:
    """What is done with a master key."""

    def __init__(self, check: bytes, wrap: bytes, index: bytes, bridge: bytes = b"") -> None:
        self.check, self.index = check, index
        self._wrap, self._bridge = wrap, bridge
        self._wrapper = AESGCM(wrap)

    @classmethod
    def of(cls, key: MasterKey) -> "_Keys":
        return cls(key.derive(b"check"), key.derive(b"wrap"), key.derive(b"person"), key.derive(b"bridge"))

    def wrap(self, what: bytes, key: bytes) -> bytes:
        return _encrypted(self._wrapper, key, what)

    def unwrap(self, what: bytes, wrapped: bytes) -> bytes:
        """Raises: InvalidTag."""
        return _decrypted(self._wrapper, wrapped, what)

    def bridge_to(self, older: "_Keys") -> bytes:
        """The older keys, for whoever has these."""
        return _encrypted(AESGCM(self._bridge), older.check + older._wrap + older.index, b"duly/bridge/1")

    def cross(self, bridge: bytes) -> "_Keys":
        """The older keys. Raises: InvalidTag."""
        plain = _decrypted(AESGCM(self._bridge), bridge, b"duly/bridge/1")
        return _Keys(plain[:KEY_BYTES], plain[KEY_BYTES : 2 * KEY_BYTES], plain[2 * KEY_BYTES :])


class _Session:
    """A transaction, and the keys that are in force in it."""

    def __init__(self, connection: Connection, row: Row[Any], keys: _Keys, ours: bool) -> None:
        self.execute, self.connection = connection.execute, connection
        self.generation: int = row.generation
        self.rotating: bool = row.next_check is not None
        self.keys = keys
        self.has_next_key = ours
        self._own_key: bytes = row.own_key
        self._log_count: int = row.log_count

    @property
    def own_key(self) -> bytes:
        """The vault's own key, which outlives every master key."""
        try:
            return self.keys.unwrap(b"duly/vault/own/1", self._own_key)
        except InvalidTag:
            raise VaultError("the vault was altered", remedy="Restore it from a backup.") from None

    def key_of(self, borrower: bytes) -> bytes | None:
        wrapped = self.execute(
            select(keys_table.c.wrapped_key).where(
                keys_table.c.borrower == borrower, keys_table.c.generation == self.generation
            )
        ).scalar()
        return None if wrapped is None else self.unwrap(borrower, wrapped)

    def unwrap(self, borrower: bytes, wrapped: bytes) -> bytes:
        try:
            return self.keys.unwrap(b"duly/key/1" + borrower, wrapped)
        except InvalidTag:
            raise VaultError(
                f"the key of {_text(borrower)} was altered", remedy="Restore the vault from a backup."
            ) from None

    def note(
        self, now: int, reading: Reading, borrower: bytes | None = None, channel: Channel | None = None
    ) -> None:
        """Add a line to the log, sealed together with all before it."""
        self.note_all(now, [(reading, borrower, channel)])

    def note_all(self, now: int, readings: Sequence[tuple[Reading, bytes | None, Channel | None]]) -> None:
        """Add lines to the log."""
        if not readings:
            return
        count = self._log_count
        seal = self.execute(select(log_table.c.seal).where(log_table.c.id == count)).scalar() or b""
        key = derive(self.own_key, b"duly/log/1")
        rows, by = [], _user()
        for number, (read, borrower, channel) in enumerate(readings, count + 1):
            values: dict[str, Any] = {
                "id": number,
                "at": now,
                "borrower": borrower,
                "channel": None if channel is None else int(channel),
                "purpose": read.purpose,
                "about": read.about,
                "by": by,
            }
            seal = _log_seal(key, seal, values)
            rows.append(values | {"seal": seal})
        self.execute(insert(log_table), rows)
        self.execute(update(vault_table).values(log_count=number, log_seal=_end_seal(key, number, seal)))
        self._log_count = number

    def claim(self, now: int, messages: Sequence[Handout]) -> list[bool]:
        """Of each message whether it is its sender's from now on, nobody else having claimed any of it."""
        table = claims_table
        ids = {notice for message in messages for notice in message.notices}
        rows = self.execute(select(table.c.notice, table.c.claim).where(table.c.notice.in_(ids)))
        before = {row.notice: row.claim for row in rows}
        taken: dict[bytes, str] = {}
        found = []
        for message in messages:
            held = {claim for notice in message.notices if (claim := (before | taken).get(notice))}
            mine = held <= set(message.claims)
            if mine:
                taken |= dict.fromkeys(message.notices, message.claims[-1])
            found.append(mine)
        if again := before.keys() & taken.keys():
            self.execute(delete(table).where(table.c.notice.in_(again)))
        if taken:
            self.execute(
                insert(table),
                [{"notice": notice, "claim": claim, "at": now} for notice, claim in taken.items()],
            )
        return found

    def forget_claims(self, before: int) -> None:
        """Forget who claimed what before a moment, UTC seconds."""
        self.execute(delete(claims_table).where(claims_table.c.at < before))

    def log(self, borrower: bytes | None = None) -> list[Entry]:
        """The log, of one borrower or of all. Raises: AlteredLog."""
        key = derive(self.own_key, b"duly/log/1")
        seal = b""
        entries = []
        number = 0
        for number, row in enumerate(self.execute(select(log_table).order_by(log_table.c.id)), 1):
            values = row._asdict()
            told = values.pop("seal")
            seal = _log_seal(key, seal, values)
            if row.id != number or not hmac.compare_digest(told, seal):
                raise AlteredLog(f"the log of readings was altered at entry {number}")
            if borrower is None or row.borrower == borrower:
                entries.append(
                    Entry(
                        row.id,
                        row.at,
                        None if row.borrower is None else _text(row.borrower),
                        None if row.channel is None else Channel(row.channel),
                        row.purpose,
                        row.about,
                        row.by,
                    )
                )
        count, end = self.execute(select(vault_table.c.log_count, vault_table.c.log_seal)).one()
        if count != number or not hmac.compare_digest(end, _end_seal(key, number, seal)):
            raise AlteredLog(f"the log of readings was altered: it ends at entry {number}")
        return entries


def _now() -> int:
    return int(time.time())


class Vault:
    """Addresses of borrowers, found by the borrower's address on chain (lower-case hexadecimal) alone.

    Every call is one transaction, but for rotating. Nothing is cached: what another process erases is gone at
    once. `clock` tells the time in UTC seconds: of codes, the log, and changes.
    """

    def __init__(self, engine: Engine, key: MasterKey, *, clock: Callable[[], int] = _now) -> None:
        self._engine = engine
        self._keys = _Keys.of(key)
        self._clock = clock
        self._forgets_at = 0

    # -------------------------------------------------------------------------------------------- opening

    @classmethod
    def open(cls, url: str, key: MasterKey, *, clock: Callable[[], int] = _now) -> Self:
        """Open the vault at a database URL, making it where there is none.

        While a rotation runs the old master key opens it, and the new one too.

        Raises: WrongMasterKey, VaultError.
        """
        vault = cls(_open_engine(url), key, clock=clock)
        try:
            with vault._transaction(writing) as connection:
                _prepare(connection)
                if connection.execute(select(vault_table)).first() is None:
                    vault._create(connection)
            with vault._reading():
                return vault
        except BaseException:
            vault.close()
            raise

    def _create(self, connection: Connection) -> None:
        own_key = secrets.token_bytes(KEY_BYTES)
        connection.execute(
            insert(vault_table).values(
                id=1,
                generation=1,
                key_check=self._keys.check,
                own_key=self._keys.wrap(b"duly/vault/own/1", own_key),
                log_count=0,
                log_seal=_end_seal(derive(own_key, b"duly/log/1"), 0, b""),
            )
        )

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------- writing

    def add(self, borrower: str, channel: Channel, address: str, *, language: str = "en") -> None:
        """Keep the borrower's own address for a channel, in place of an earlier one.

        It is used once the borrower has proved it (`new_code`, `check_code`). `language` is the one the
        borrower is written to in, for all channels.

        Raises: InvalidContact, VaultError.
        """
        self.add_all([(borrower, channel, address)], language=language)

    def add_all(self, contacts: Iterable[tuple[str, Channel, str]], *, language: str = "en") -> None:
        """Keep several borrowers' own addresses, all or none: (borrower, channel, address) each.

        Raises: InvalidContact, VaultError.
        """
        checked = [
            (_raw(borrower), channel, normalise(channel, text)) for borrower, channel, text in contacts
        ]
        if any(channel is Channel.IN_APP and _raw(text) != who for who, channel, text in checked):
            raise InvalidContact("an in-app inbox is its borrower's own", wanted="the same address twice")
        _checked_language(language)
        now = self._clock()
        with self._writing() as session:
            for borrower, channel, address in checked:
                key = session.key_of(borrower)
                if key is None:
                    key = secrets.token_bytes(KEY_BYTES)
                    session.execute(
                        insert(borrowers_table).values(borrower=borrower, language=language, added_at=now)
                    )
                    session.execute(
                        insert(keys_table).values(
                            borrower=borrower,
                            generation=session.generation,
                            wrapped_key=session.keys.wrap(b"duly/key/1" + borrower, key),
                        )
                    )
                else:
                    session.execute(
                        update(borrowers_table)
                        .where(borrowers_table.c.borrower == borrower)
                        .values(language=language)
                    )
                self._put(session, key, borrower, channel, address, now)

    def _put(
        self, session: _Session, key: bytes, borrower: bytes, channel: Channel, address: str, now: int
    ) -> None:
        this = _at(contacts_table, borrower, channel)
        before = session.execute(select(contacts_table).where(*this)).first()
        if before is not None:
            if _unseal(key, borrower, channel, before.sealed_address) == address:
                return
            # What hangs on the address goes with it: proof, code, index.
            session.execute(delete(contacts_table).where(*this))
        session.execute(
            insert(contacts_table).values(
                borrower=borrower,
                channel=int(channel),
                sealed_address=_seal(key, borrower, channel, address),
                added_at=now if before is None else before.added_at,
                changed_at=now,
            )
        )
        session.execute(
            insert(persons_table).values(
                borrower=borrower,
                channel=int(channel),
                generation=session.generation,
                person=_person(session.keys.index, channel, address),
            )
        )

    def prefer(self, borrower: str, preferences: Preferences, *, language: str = "") -> None:
        """Keep how the borrower wishes to be reminded, in place of earlier wishes. language: and in which; as
        before where none is named.

        Raises: UnknownBorrower, VaultError.
        """
        raw = _raw(borrower)
        told = None if preferences == NO_PREFERENCES else json.dumps(asdict(preferences))
        values = {"preferences": told} | ({"language": _checked_language(language)} if language else {})
        with self._writing() as session:
            known = session.execute(
                update(borrowers_table).where(borrowers_table.c.borrower == raw).values(values)
            ).rowcount
        if not known:
            raise UnknownBorrower(_text(raw))

    def erase(self, *borrowers: str) -> int:
        """Forget borrowers: keys, addresses and index entries, down to the bytes of the database's files.

        Nothing on chain, in a notice or in a backup without its master key can be linked to them any more.
        The same goes for PostgreSQL's write-ahead log.
        The log keeps that their addresses were read, and for a day it stays known how many codes were sent to
        the borrower, not where.

        Returns: how many of them were known.
        """
        erased = 0
        now = self._clock()
        with self._writing() as session:
            for borrower in borrowers:
                raw = _raw(borrower)
                known = session.execute(
                    delete(borrowers_table).where(borrowers_table.c.borrower == raw)
                ).rowcount
                session.execute(
                    update(sent_table).where(sent_table.c.borrower == raw).values(address_hash=None)
                )
                if known:
                    session.note(now, Reading("erasure"), raw)
                erased += known
            session.execute(delete(sent_table).where(sent_table.c.at <= now - _LONGEST))
        self._compact()
        return erased

    def _compact(self) -> None:
        """Leave nothing of what was deleted in the database's files."""
        try:
            with _clear_errors():
                # On SQLite deleted rows were overwritten (secure_delete), but not pages that rows were moved
                # out of.
                rewrite(self._engine, *(table for table in metadata.sorted_tables if table is not log_table))
        except (DatabaseError, VaultError) as error:
            raise VaultError(
                f"it is done, but what was deleted is still in the vault's files: {error.wrong}",
                wanted=error.wanted,
                remedy=f"{error.remedy} Erasing anyone, also whom the vault does not know, does the rest.",
            ) from None

    # ---------------------------------------------------------------------------------------- verifying

    def new_code(self, borrower: str, channel: Channel) -> Code:
        """A code to send to the borrower's address, in place of an earlier one. Only its hash is kept.

        Raises: NoSuchContact, TooManyCodes, VaultError.
        """
        raw, now = _raw(borrower), self._clock()
        code = f"{secrets.randbelow(10**6):06}"
        with self._writing() as session:
            found = self._find(session, raw, channel)
            if found is None:
                raise NoSuchContact(_text(raw), channel)
            row, key, address = found
            if row.verified_at is not None:
                raise VaultError(
                    f"the {channel.label} address of {_text(raw)} is verified already",
                    remedy="duly vault show tells its commitment.",
                )
            where = _limited(derive(session.own_key, b"duly/codes/1"), channel, address)
            self._limit(session, sent_table.c.address_hash == where, now)
            self._limit(session, sent_table.c.borrower == raw, now)
            session.execute(delete(sent_table).where(sent_table.c.at <= now - _LONGEST))
            session.execute(insert(sent_table).values(borrower=raw, address_hash=where, at=now))
            session.execute(delete(codes_table).where(*_at(codes_table, raw, channel)))
            session.execute(
                insert(codes_table).values(
                    borrower=raw,
                    channel=int(channel),
                    hash=_code_hash(key, channel, address, code),
                    sent_at=now,
                    tries=0,
                )
            )
            session.note(now, Reading("verification"), raw, channel)
        return Code(_text(raw), channel, address, row.language, code)

    def _limit(self, session: _Session, whose: Any, now: int) -> None:
        """Raises: TooManyCodes."""
        times = (
            session.execute(select(sent_table.c.at).where(whose).order_by(sent_table.c.at.desc()))
            .scalars()
            .all()
        )
        waits = [
            times[most - 1] + seconds - now
            for most, seconds in CODES
            if len(times) >= most and times[most - 1] > now - seconds
        ]
        if waits:
            raise TooManyCodes(max(waits))

    def check_code(self, borrower: str, channel: Channel, code: str) -> Commitment:
        """Whether this is the code that was sent: then the address is verified.

        Returns: what the borrower's key has to register on chain.
        Raises: CodeRefused, NoSuchContact, VaultError, InvalidCode; none of them repeats the code.
        """
        raw, now = _raw(borrower), self._clock()
        code = re.sub(r"[\s-]", "", code)
        if not re.fullmatch("[0-9]{6}", code, re.ASCII):
            raise InvalidCode(wanted="the six digits that were sent")
        again = f"Send a new one: duly vault verify {_text(raw)}."
        with self._writing() as session:
            found = self._find(session, raw, channel)
            if found is None:
                raise NoSuchContact(_text(raw), channel)
            _, key, address = found
            sent = session.execute(select(codes_table).where(*_at(codes_table, raw, channel))).first()
            if sent is None:
                raise CodeRefused("no code waits to be checked", remedy=again)
            if not sent.sent_at <= now < sent.sent_at + CODE_SECONDS:
                raise CodeRefused("the code is too old", wanted="within 15 minutes", remedy=again)
            if sent.tries >= CODE_TRIES:
                raise CodeRefused("the code was tried too often", remedy=again)
            right = hmac.compare_digest(sent.hash, _code_hash(key, channel, address, code))
            if right:
                self._mark(session, raw, channel, now, "code")
            else:
                # Counted and committed before anybody is told.
                session.execute(
                    update(codes_table)
                    .where(*_at(codes_table, raw, channel))
                    .values(tries=codes_table.c.tries + 1)
                )
        if not right:
            left = CODE_TRIES - sent.tries - 1
            raise CodeRefused(
                "this is not the code that was sent",
                remedy=f"It can be tried {left} more time{'s' * (left != 1)}." if left else again,
            )
        return Commitment(_text(raw), channel, _commitment(key, channel, address))

    def verify_simulated(self, borrowers: Iterable[tuple[str, Channel]]) -> list[Commitment]:
        """Take addresses of simulated borrowers for verified: nobody is there who could tell a code.

        For tests; services call `duly.services.verifying.verify_simulated`, which is for local chains only.

        Raises: NoSuchContact, VaultError.
        """
        commitments = []
        now = self._clock()
        with self._writing() as session:
            for borrower, channel in borrowers:
                raw = _raw(borrower)
                found = self._find(session, raw, channel)
                if found is None:
                    raise NoSuchContact(_text(raw), channel)
                _, key, address = found
                self._mark(session, raw, channel, now, "simulation")
                commitments.append(Commitment(_text(raw), channel, _commitment(key, channel, address)))
        return commitments

    def _mark(self, session: _Session, borrower: bytes, channel: Channel, now: int, by: str) -> None:
        session.execute(
            update(contacts_table)
            .where(*_at(contacts_table, borrower, channel))
            .values(verified_at=now, verified_by=by)
        )
        session.execute(delete(codes_table).where(*_at(codes_table, borrower, channel)))

    # ----------------------------------------------------------------------------------------- rotating

    def rotate(self, new: MasterKey) -> int:
        """Put everything under another master key, at once. Commitments and salts stay as they are.

        Returns: how many borrowers there are.
        """
        self.prepare_rotation(new)
        return self.finish_rotation(new)

    def prepare_rotation(self, new: MasterKey) -> int:
        """Put everything under another master key as well: from then on either key opens the vault.

        In small transactions, others reading and writing meanwhile. What was killed is taken up again.

        Returns: how many borrowers there are.
        Raises: VaultError, where a rotation to yet another key runs.
        """
        fresh = _Keys.of(new)
        now = self._clock()
        with self._writing() as session:
            row = session.execute(select(vault_table)).one()
            if row.next_check is None:
                if hmac.compare_digest(fresh.check, row.key_check):
                    raise InvalidMasterKey("the vault is under this master key already", wanted="another one")
                session.execute(
                    update(vault_table).values(
                        next_check=fresh.check,
                        next_own_key=fresh.wrap(b"duly/vault/own/1", session.own_key),
                        bridge=fresh.bridge_to(session.keys),
                    )
                )
                session.note(now, Reading("rotation"))
            elif not hmac.compare_digest(row.next_check, fresh.check):
                raise VaultError(
                    "a rotation to another key has begun",
                    remedy="Finish it with that key, or give it up: duly vault rotate --abandon.",
                )
        more = True
        while more:
            with self._writing() as session:
                # Somebody else may have finished it.
                more = session.rotating and self._rewrap(session, fresh, _BATCH)
        with self._reading() as session:
            return int(session.execute(select(func.count()).select_from(borrowers_table)).scalar_one())

    def _rewrap(self, session: _Session, fresh: _Keys, most: int | None) -> bool:
        """Do a part of what is left. Returns: whether there may be more."""
        to = session.generation + 1
        keys, persons, newer = keys_table, persons_table, keys_table.alias()
        rows = session.execute(
            select(keys.c.borrower, keys.c.wrapped_key)
            .outerjoin(newer, and_(newer.c.borrower == keys.c.borrower, newer.c.generation == to))
            .where(keys.c.generation == session.generation, newer.c.borrower.is_(None))
            .limit(most)
        ).all()
        for borrower, wrapped in rows:
            key = session.unwrap(borrower, wrapped)
            session.execute(
                insert(keys).values(
                    borrower=borrower, generation=to, wrapped_key=fresh.wrap(b"duly/key/1" + borrower, key)
                )
            )
        if rows and most is not None:
            return True
        index = persons.alias()
        contacts = session.execute(
            select(contacts_table.c.borrower, contacts_table.c.channel, contacts_table.c.sealed_address)
            .outerjoin(
                index,
                and_(
                    index.c.borrower == contacts_table.c.borrower,
                    index.c.channel == contacts_table.c.channel,
                    index.c.generation == to,
                ),
            )
            .where(index.c.borrower.is_(None))
            .limit(most)
        ).all()
        for borrower, number, sealed in contacts:
            mine, channel = session.key_of(borrower), Channel(number)
            if mine is None:
                raise VaultError(f"the key of {_text(borrower)} is missing", remedy="Restore the vault.")
            person = _person(fresh.index, channel, _unseal(mine, borrower, channel, sealed))
            session.execute(
                insert(persons).values(borrower=borrower, channel=number, generation=to, person=person)
            )
        return bool(contacts)

    def finish_rotation(self, new: MasterKey | None = None) -> int:
        """End the rotation that was prepared: only the new key opens the vault from now on.

        new: the new key, where the vault was not opened with it. What the old one wrapped is deleted in small
        transactions; where that was killed it is taken up again.

        Returns: how many borrowers there are.
        Raises: VaultError, where no rotation runs, or the new key is not at hand.
        """
        fresh = self._keys if new is None else _Keys.of(new)
        with self._transaction(writing) as connection:
            row = connection.execute(_the_row.with_for_update()).one()
            if row.next_check is not None:
                if not hmac.compare_digest(row.next_check, fresh.check):
                    raise WrongMasterKey
                older = fresh.cross(row.bridge)
                session = _Session(connection, row, older, True)
                self._rewrap(session, fresh, None)
                session.note(self._clock(), Reading("rotation", "finished"))
                session.execute(
                    update(vault_table).values(
                        generation=row.generation + 1,
                        key_check=row.next_check,
                        own_key=row.next_own_key,
                        next_check=None,
                        next_own_key=None,
                        bridge=None,
                    )
                )
            elif not hmac.compare_digest(row.key_check, fresh.check):
                raise WrongMasterKey
        self._keys = fresh
        self._drop_other_generations()
        self._compact()
        with self._reading() as session:
            return int(session.execute(select(func.count()).select_from(borrowers_table)).scalar_one())

    def abandon_rotation(self) -> None:
        """Give up the rotation that was begun: only the old key opens the vault again.

        Raises: VaultError, where none runs, or where the old key is not at hand.
        """
        with self._writing() as session:
            if not session.rotating:
                raise VaultError("no rotation runs")
            if session.has_next_key:
                raise VaultError(
                    "the vault was opened with the new key, which is to be given up", wanted="the old key"
                )
            session.execute(update(vault_table).values(next_check=None, next_own_key=None, bridge=None))
            session.note(self._clock(), Reading("rotation", "abandoned"))
        self._drop_other_generations()
        self._compact()

    def _drop_other_generations(self) -> None:
        for table in (keys_table, persons_table):
            more = True
            while more:
                with self._writing() as session:
                    if session.rotating:
                        # The next rotation has begun.
                        return
                    other = table.c.generation != session.generation
                    some = select(table.c.borrower).where(other).distinct().limit(_BATCH)
                    dropped = session.execute(delete(table).where(other, table.c.borrower.in_(some)))
                    more = bool(dropped.rowcount)

    # -------------------------------------------------------------------------------------------- reading

    def kept(self, borrower: str, channel: Channel, purpose: bytes = b"") -> Kept | None:
        """What is kept for a channel, all but the address; None for nothing. Not a reading of the address.

        Everybody whom the vault knows has an in-app inbox; without a contact for it, its commitment is zeros.
        purpose: of the salt.
        """
        return self.kept_all([(borrower, channel, purpose)])[0]

    def kept_all(self, asked: Sequence[tuple[str, Channel, bytes]]) -> list[Kept | None]:
        """The same of many: of each a borrower, a channel, and the purpose of the salt."""
        with self._reading() as session:
            found = self._contacts(session, asked)
        return [None if one is None else one.kept for one in found]

    def hand_out(self, messages: Sequence[Handout]) -> list[list[Contact | None] | None]:
        """The addresses to which messages are sent, in the order asked; None for a message that is another's.

        Whoever asks for a notice first has it. After that only they get its address again: for a claim that
        follows the one to which it was given out. So of all who share a vault one sends (GATE-2): several
        services, or one that was restored from a copy. Each reading is told in the log.
        """
        with self._writing() as session:
            now = self._clock()
            if now >= self._forgets_at:
                session.forget_claims(now - CLAIMED_SECONDS)
                self._forgets_at = now + _FORGETS_EVERY
            mine = session.claim(now, messages)
            asked = [
                each
                for message, is_mine in zip(messages, mine, strict=True)
                if is_mine
                for each in message.asked
            ]
            found = iter(self._told(session, now, asked))
        return [
            [next(found) for _ in message.asked] if is_mine else None
            for message, is_mine in zip(messages, mine, strict=True)
        ]

    def _told(
        self, session: _Session, now: int, asked: Sequence[tuple[str, Channel, Reading, bytes]]
    ) -> list[Contact | None]:
        """Contacts, told in the log."""
        found = self._contacts(session, [(who, channel, purpose) for who, channel, _, purpose in asked])
        readings = [
            (reading, _raw(borrower), channel)
            for (borrower, channel, reading, _), one in zip(asked, found, strict=True)
            if one is not None
        ]
        session.note_all(now, readings)
        return found

    def _contacts(
        self, session: _Session, asked: Sequence[tuple[str, Channel, bytes]]
    ) -> list[Contact | None]:
        wanted = [(_raw(borrower), channel) for borrower, channel, _ in asked]
        found = self._find_all(session, set(wanted))
        told: list[Contact | None] = []
        for (raw, channel), (_, _, purpose) in zip(wanted, asked, strict=True):
            if (one := found.get((raw, channel))) is not None:
                told.append(Contact(_kept(*one, purpose), one[2]))
            elif channel is Channel.IN_APP and (key := session.key_of(raw)) is not None:
                language = session.execute(
                    select(borrowers_table.c.language).where(borrowers_table.c.borrower == raw)
                ).scalar_one()
                kept = Kept(_text(raw), channel, bytes(32), language, _salt(key, purpose), True)
                told.append(Contact(kept, _text(raw)))
            else:
                told.append(None)
        return told

    def contact(
        self, borrower: str, channel: Channel, reading: Reading, purpose: bytes = b""
    ) -> Contact | None:
        """The borrower's own address, told in the log before it is given out; None for none.

        reading: what the address is read for. purpose: of the salt.
        """
        with self._writing() as session:
            return self._told(session, self._clock(), [(borrower, channel, reading, purpose)])[0]

    def _find(
        self, session: _Session, borrower: bytes, channel: Channel
    ) -> tuple[Row[Any], bytes, str] | None:
        """A contact's row, its borrower's key, and the address."""
        return self._find_all(session, {(borrower, channel)}).get((borrower, channel))

    def _find_all(
        self, session: _Session, wanted: Collection[tuple[bytes, Channel]]
    ) -> dict[tuple[bytes, Channel], tuple[Row[Any], bytes, str]]:
        query = (
            select(borrowers_table.c.language, keys_table.c.wrapped_key, contacts_table)
            .join_from(borrowers_table, contacts_table)
            .join(
                keys_table,
                and_(
                    keys_table.c.borrower == borrowers_table.c.borrower,
                    keys_table.c.generation == session.generation,
                ),
            )
        )
        found = {}
        borrowers = list({borrower for borrower, _ in wanted})
        for start in range(0, len(borrowers), 500):
            some = contacts_table.c.borrower.in_(borrowers[start : start + 500])
            for row in session.execute(query.where(some)):
                which = row.borrower, Channel(row.channel)
                if which in wanted:
                    key = session.unwrap(row.borrower, row.wrapped_key)
                    found[which] = row, key, _unseal(key, *which, row.sealed_address)
        return found

    def commitment(self, borrower: str, channel: Channel) -> bytes | None:
        """What the borrower's key registers on chain; None where no verified address is kept."""
        kept = self.kept(borrower, channel)
        return kept.commitment if kept is not None and kept.verified and any(kept.commitment) else None

    # --------------------------------------------------------------------------------------- the inbox

    def keep_letter(
        self,
        borrower: str,
        name: bytes,
        subject: str,
        body: str,
        language: str,
        proofs: Sequence[tuple[bytes, bytes]],
        at: int,
        expires_at: int | None = None,
    ) -> bool:
        """Keep a message in the borrower's in-app inbox, under a name once.

        proofs: of each notice its id and the salt of its content hash. expires_at: when it is to be
        forgotten, UTC seconds as `at`.

        Returns: False where the vault does not know the borrower.
        """
        raw = _raw(borrower)
        told = [subject, body, language, [[notice.hex(), salt.hex()] for notice, salt in proofs]]
        with self._writing() as session:
            key = session.key_of(raw)
            if key is None:
                return False
            text = json.dumps(told, ensure_ascii=False).encode()
            sealed = _encrypted(AESGCM(derive(key, b"duly/inbox/1")), text, _letter(raw, name))
            session.execute(
                insert_once(session.connection, inbox_table),
                {
                    "borrower": raw,
                    "name": name,
                    "sealed_letter": sealed,
                    "at": at,
                    "expires_at": expires_at,
                },
            )
        return True

    def inbox(self, borrower: str, now: int | None = None) -> list[Letter]:
        """The messages in a borrower's in-app inbox, the latest first; told in the log. What expired by now
        is forgotten.

        now: UTC seconds, by default this machine's.
        Raises: UnknownBorrower.
        """
        raw = _raw(borrower)
        with self._writing() as session:
            if session.key_of(raw) is None:
                raise UnknownBorrower(_text(raw))
            moment = self._clock() if now is None else now
            session.execute(delete(inbox_table).where(inbox_table.c.expires_at <= moment))
            session.note(self._clock(), Reading("inbox"), raw, Channel.IN_APP)
            return self._letters(session, raw)

    def _letters(self, session: _Session, borrower: bytes) -> list[Letter]:
        key = session.key_of(borrower)
        if key is None:
            return []
        table = inbox_table
        rows = session.execute(
            select(table).where(table.c.borrower == borrower).order_by(table.c.at.desc(), table.c.name)
        )
        letters = []
        for row in rows:
            try:
                cipher = AESGCM(derive(key, b"duly/inbox/1"))
                plain = _decrypted(cipher, row.sealed_letter, _letter(borrower, row.name))
            except InvalidTag:
                raise VaultError(
                    f"the inbox of {_text(borrower)} was altered", remedy="Restore the vault from a backup."
                ) from None
            subject, body, language, proofs = json.loads(plain)
            pairs = tuple((bytes.fromhex(notice), bytes.fromhex(salt)) for notice, salt in proofs)
            letters.append(Letter(subject, body, language, pairs, row.at))
        return letters

    def salt_for(self, borrower: str, purpose: bytes) -> bytes:
        """32 bytes that the borrower's key and a purpose determine, the same until the borrower is erased.

        Raises: UnknownBorrower.
        """
        with self._reading() as session:
            key = session.key_of(_raw(borrower))
        if key is None:
            raise UnknownBorrower(borrower)
        return _salt(key, purpose)

    def tag_key(self) -> bytes:
        """The key of the tags of messages (`duly.domain.tag`), the same as long as there is this vault."""
        with self._reading() as session:
            return derive(session.own_key, b"duly/tags/1")

    def record(self, borrower: str) -> BorrowerRecord:
        """Everything that is kept of a borrower, for the borrower; told in the log.

        Raises: UnknownBorrower, AlteredLog.
        """
        raw, now = _raw(borrower), self._clock()
        with self._writing() as session:
            known = session.execute(select(borrowers_table).where(borrowers_table.c.borrower == raw)).first()
            if known is None:
                raise UnknownBorrower(_text(raw))
            channels = session.execute(
                select(contacts_table.c.channel).where(contacts_table.c.borrower == raw)
            ).scalars()
            contacts = []
            for channel in sorted(map(Channel, channels)):
                found = self._find(session, raw, channel)
                if found is None:
                    raise VaultError(f"the key of {_text(raw)} is missing", remedy="Restore the vault.")
                row, key, address = found
                session.note(now, Reading("export"), raw, channel)
                contacts.append(
                    ContactRecord(
                        channel,
                        address,
                        _commitment(key, channel, address),
                        _salt(key, _contact_purpose(channel)),
                        row.added_at,
                        row.changed_at,
                        row.verified_at,
                        row.verified_by,
                        session.execute(
                            select(codes_table.c.sent_at).where(*_at(codes_table, raw, channel))
                        ).scalar(),
                    )
                )
            sent = session.execute(
                select(sent_table.c.at).where(sent_table.c.borrower == raw).order_by(sent_table.c.at)
            ).scalars()
            return BorrowerRecord(
                _text(raw),
                known.language,
                _preferences(known.preferences),
                known.added_at,
                tuple(contacts),
                tuple(self._letters(session, raw)),
                tuple(sent),
                tuple(session.log(raw)),
            )

    def log(self, borrower: str | None = None) -> list[Entry]:
        """Who read addresses, and what for; of one borrower or of all, in order. Erased ones stay in it.

        Raises: AlteredLog.
        """
        with self._reading() as session:
            return session.log(None if borrower is None else _raw(borrower))

    def language_of(self, borrower: str) -> str:
        """The language that the borrower is written to in; "en" of a borrower the vault does not know."""
        with self._reading() as session:
            found = session.execute(
                select(borrowers_table.c.language).where(borrowers_table.c.borrower == _raw(borrower))
            ).scalar()
        return found or "en"

    def preferences_of(self, borrower: str) -> Preferences:
        """How the borrower wishes to be reminded; `NO_PREFERENCES` of one that the vault does not know."""
        with self._reading() as session:
            found = session.execute(
                select(borrowers_table.c.preferences).where(borrowers_table.c.borrower == _raw(borrower))
            ).scalar()
        return _preferences(found)

    def preferences(self) -> dict[str, Preferences]:
        """The same of everyone who told any wish, in one pass."""
        table = borrowers_table.c
        with self._reading() as session:
            rows = session.execute(
                select(table.borrower, table.preferences).where(table.preferences.is_not(None))
            ).all()
        return {_text(raw): _preferences(told) for raw, told in rows}

    def borrowers_at(self, channel: Channel, address: str) -> list[str]:
        """The borrower addresses of whoever is reached there: to act on a word that came from there.

        Raises: InvalidContact.
        """
        text = normalise(channel, address)
        with self._writing() as session:
            person = _person(session.keys.index, channel, text)
            found = (
                session.execute(
                    select(persons_table.c.borrower).where(
                        persons_table.c.channel == int(channel),
                        persons_table.c.generation == session.generation,
                        persons_table.c.person == person,
                    )
                )
                .scalars()
                .all()
            )
            for raw in found:
                session.note(self._clock(), Reading("search"), raw, channel)
            return [_text(raw) for raw in found]

    def channels_of(self, borrower: str) -> list[Channel]:
        """The channels for which there is an address."""
        with self._reading() as session:
            found = session.execute(
                select(contacts_table.c.channel)
                .where(contacts_table.c.borrower == _raw(borrower))
                .order_by(contacts_table.c.channel)
            ).scalars()
            return [Channel(channel) for channel in found]

    def borrowers(self) -> list[str]:
        """Everyone whom the vault knows."""
        with self._reading() as session:
            return [_text(raw) for raw in session.execute(select(borrowers_table.c.borrower)).scalars()]

    def person_of(self, borrower: str) -> bytes:
        """What all borrower addresses of one person have in common, 32 opaque bytes, for caps per person.

        Two borrower addresses are one person's where they share a contact, or each shares one with a third.
        A borrower whom the vault does not know is a person of their own.
        """
        raw, table = _raw(borrower), persons_table
        with self._reading() as session:
            seen, fresh = {raw}, {raw}
            indexes: set[bytes] = set()
            current = table.c.generation == session.generation
            while fresh:
                found = set(
                    session.execute(
                        select(table.c.person).where(current, table.c.borrower.in_(fresh))
                    ).scalars()
                )
                indexes |= found
                fresh = (
                    set(
                        session.execute(
                            select(table.c.borrower).where(current, table.c.person.in_(found))
                        ).scalars()
                    )
                    - seen
                )
                seen |= fresh
        return min(indexes) if indexes else _stranger(session.keys.index, raw)

    def persons(self) -> dict[str, bytes]:
        """`person_of` of everyone whom the vault knows, in one pass."""
        table = persons_table
        with self._reading() as session:
            rows = session.execute(
                select(table.c.borrower, table.c.person).where(table.c.generation == session.generation)
            ).all()
            everyone = session.execute(select(borrowers_table.c.borrower)).scalars().all()
        root: dict[bytes, bytes] = {}

        def find(index: bytes) -> bytes:
            while (above := root.setdefault(index, index)) != index:
                root[index] = root[above]
                index = above
            return index

        one_of: dict[bytes, bytes] = {}
        for borrower, person in rows:
            a, b = find(person), find(one_of.setdefault(borrower, person))
            root[max(a, b)] = min(a, b)
        index = session.keys.index
        return {_text(raw): find(one_of[raw]) if raw in one_of else _stranger(index, raw) for raw in everyone}

    def reached(self, channel: Channel) -> dict[str, bytes]:
        """What the borrower addresses have in common that are written to at one address in one language:
        opaque bytes, of everyone who proved the address for the channel. Not a reading of the addresses.
        """
        people, contacts, borrowers = persons_table.c, contacts_table.c, borrowers_table.c
        query = (
            select(people.borrower, people.person, borrowers.language)
            .join_from(
                persons_table,
                contacts_table,
                and_(contacts.borrower == people.borrower, contacts.channel == people.channel),
            )
            .join(borrowers_table, borrowers.borrower == people.borrower)
            .where(people.channel == int(channel), contacts.verified_at.is_not(None))
        )
        with self._reading() as session:
            rows = session.execute(query.where(people.generation == session.generation))
            return {_text(row.borrower): row.person + row.language.encode() for row in rows}

    def reached_with(self, borrower: str, channel: Channel) -> list[tuple[str, bytes, int]]:
        """Everybody who is reached where this borrower is on a channel, the borrower among them: address on
        chain, commitment, and since when the contact is this one. Not a reading of the addresses.
        """
        people, found = persons_table, []
        with self._reading() as session:
            current = people.c.generation == session.generation
            mine = select(people.c.person).where(*_at(people, _raw(borrower), channel), current)
            query = select(people.c.borrower).where(
                people.c.channel == int(channel), current, people.c.person.in_(mine)
            )
            for raw in session.execute(query).scalars().all():
                contact = self._find(session, raw, channel)
                if contact is not None:
                    row, key, address = contact
                    found.append((_text(raw), _commitment(key, channel, address), row.changed_at))
        return found

    # ------------------------------------------------------------------------------------------- innards

    @contextmanager
    def _transaction(
        self, kind: Callable[[Engine], AbstractContextManager[Connection]]
    ) -> Iterator[Connection]:
        with _clear_errors(), kind(self._engine) as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[_Session]:
        with self._transaction(reading) as connection:
            yield self._session(connection, _the_row)

    @contextmanager
    def _writing(self) -> Iterator[_Session]:
        # One writes at a time: on SQLite there is one right to write, on PostgreSQL the row is locked.
        with self._transaction(writing) as connection:
            yield self._session(connection, _the_row.with_for_update())

    def _session(self, connection: Connection, query: Select[Any]) -> _Session:
        # In every transaction: another process may have rotated the master key meanwhile.
        row = connection.execute(query).first()
        if row is not None and hmac.compare_digest(row.key_check, self._keys.check):
            return _Session(connection, row, self._keys, False)
        if row is None or not hmac.compare_digest(row.next_check or b"", self._keys.check):
            raise WrongMasterKey
        # The new key, while a rotation runs: everything is still done with the old one.
        return _Session(connection, row, self._keys.cross(row.bridge), True)


# ------------------------------------------------------------------------------------------------- formulas


def _at(table: Table, borrower: bytes, channel: Channel) -> tuple[Any, Any]:
    return table.c.borrower == borrower, table.c.channel == int(channel)


def _checked_language(language: str) -> str:
    if not re.fullmatch("[a-z]{2,3}", language):
        raise InvalidInput("this is not a language", wanted="a code such as en or zh")
    return language


def _preferences(told: str | None) -> Preferences:
    if told is None:
        return NO_PREFERENCES
    values = json.loads(told)
    hours = values["hours"] and tuple(values["hours"])
    channel = values.get("channel")
    return Preferences(
        **values
        | {
            "hours": hours,
            "days_before": tuple(values["days_before"]),
            "channel": None if channel is None else Channel(channel),
        }
    )


def _kept(row: Row[Any], key: bytes, address: str, purpose: bytes) -> Kept:
    channel = Channel(row.channel)
    return Kept(
        _text(row.borrower),
        channel,
        _commitment(key, channel, address),
        row.language,
        _salt(key, purpose),
        row.verified_at is not None,
    )


def _encrypted(cipher: AESGCM, plain: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound)


def _decrypted(cipher: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)


def _stranger(index: bytes, raw: bytes) -> bytes:
    return hmac.digest(index, b"borrower" + raw, hashlib.sha256)


def _code_hash(key: bytes, channel: Channel, address: str, code: str) -> bytes:
    return hmac.digest(
        derive(key, b"duly/code/1"), bytes([channel]) + code.encode() + address.encode(), hashlib.sha256
    )


def _limited(key: bytes, channel: Channel, address: str) -> bytes:
    """The keyed hash of an address for the limit of codes; name+tag@… is the mailbox of name@…"""
    local, at, domain = address.rpartition("@")
    text = local.partition("+")[0] + at + domain if channel is Channel.EMAIL else address
    return hmac.digest(key, bytes([channel]) + text.casefold().encode(), hashlib.sha256)


def _log_seal(key: bytes, before: bytes, values: dict[str, Any]) -> bytes:
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    return hmac.digest(key, before + json.dumps(plain, sort_keys=True).encode(), hashlib.sha256)


def _end_seal(key: bytes, count: int, last: bytes) -> bytes:
    return hmac.digest(key, b"end" + count.to_bytes(8, "big") + last, hashlib.sha256)


def _user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _contact_purpose(channel: Channel) -> bytes:
    return b"contact" + bytes([channel])


def _salt(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(derive(key, b"duly/salt/1"), purpose, hashlib.sha256)


def _commitment(key: bytes, channel: Channel, address: str) -> bytes:
    """keccak256(abi.encode(bytes32 salt, uint8 channel, string address))."""
    text = address.encode()
    words = [_salt(key, _contact_purpose(channel)), _word(channel), _word(96), _word(len(text))]
    return keccak(b"".join(words) + text + bytes(-len(text) % 32))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _field(borrower: bytes, channel: Channel) -> bytes:
    return b"duly/contact/1" + borrower + bytes([channel])


def _letter(borrower: bytes, name: bytes) -> bytes:
    return b"duly/inbox/1" + borrower + name


def _seal(key: bytes, borrower: bytes, channel: Channel, address: str) -> bytes:
    # Padded, so that the length of what is sealed says nothing.
    text = address.encode()
    plain = len(text).to_bytes(2, "big") + text + bytes(-(len(text) + 2) % 64)
    return _encrypted(AESGCM(derive(key, b"duly/seal/1")), plain, _field(borrower, channel))


def _unseal(key: bytes, borrower: bytes, channel: Channel, sealed: bytes) -> str:
    try:
        plain = _decrypted(AESGCM(derive(key, b"duly/seal/1")), sealed, _field(borrower, channel))
    except InvalidTag:
        raise VaultError(
            f"the {channel.name.lower()} address of {_text(borrower)} was altered",
            remedy="Restore the vault from a backup.",
        ) from None
    return plain[2 : 2 + int.from_bytes(plain[:2], "big")].decode()


def _person(index: bytes, channel: Channel, address: str) -> bytes:
    return hmac.digest(index, bytes([channel]) + address.casefold().encode(), hashlib.sha256)


def _raw(borrower: str) -> bytes:
    if not re.fullmatch("0x[0-9a-fA-F]{40}", borrower):
        # Not repeated: a contact may have been typed in its place.
        raise InvalidInput("this is not a borrower's address on chain", wanted="0x and 40 hexadecimal digits")
    return bytes.fromhex(borrower[2:])


def _text(borrower: bytes) -> str:
    return "0x" + borrower.hex()


# -------------------------------------------------------------------------------------------------- database


def _open_engine(url: str) -> Engine:
    file = file_of(url)
    if file is not None:
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise VaultError(f"the vault {file} cannot be opened: {error.strerror}") from None
    return open_engine(url, setting=VAULT.setting, patience=_PATIENCE, set_up_sqlite=_set_up_sqlite)


def _set_up_sqlite(connection: Any) -> None:
    cursor = connection.cursor()
    pages = cursor.execute("PRAGMA page_count").fetchone()[0]
    if pages and cursor.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise _OtherDatabase
    # secure_delete overwrites what is deleted in the file itself. A write-ahead log would keep it until
    # that is truncated, so there is none; the rollback journal, which holds it too, is gone with the
    # commit. What VACUUM sets aside stays in memory.
    for pragma in (
        "journal_mode=DELETE",
        "secure_delete=ON",
        "temp_store=MEMORY",
        "foreign_keys=ON",
        "synchronous=EXTRA",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def prepare(url: str) -> None:
    """Make the vault's tables, or bring those of an older schema forward. No key is needed.

    Raises: VaultError, DatabaseError.
    """
    engine = _open_engine(url)
    try:
        with _clear_errors(), writing(engine) as connection:
            _prepare(connection)
    finally:
        engine.dispose()


def _prepare(connection: Connection) -> None:
    """The same of a database that is a vault, or empty to become one."""
    if connection.dialect.name == "sqlite":
        if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != _APPLICATION:
            connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION}")
    elif VAULT.revision(connection) is None and inspect(connection).get_table_names():
        raise _OtherDatabase
    VAULT.upgrade(connection)


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # Never the driver's own words: they may quote what was being written.
        raise VaultError(
            f"the vault's database failed: {type(error.orig).__name__}",
            remedy=f"See that {VAULT.setting} names the vault, and what its own log tells.",
        ) from None
