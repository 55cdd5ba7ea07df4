"""The contact vault: each borrower's own address, under a key of the borrower's own.

A database apart from the read model. There is a place for the address at which a borrower wants to be
reached, one a channel, and for nothing and nobody else (BORROWER-1).

    master key ──HKDF──┬─► wraps the borrower's key ──HKDF──┬─► seals the borrower's address (AES-256-GCM)
                       ├─► person index                     └─► salts of commitments and content hashes
                       └─► check value

Whatever the chain keeps about a contact is a hash salted from the borrower's key, so `erase` makes it
meaningless (PRIV-1). What a backup still holds stays under the master key: rotate that and destroy the old
one, and a backup cannot be read either.
"""

import hashlib
import hmac
import os
import re
import secrets
import sqlite3
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_hash.auto import keccak
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from duly.domain.consent import Channel
from duly.domain.errors import DulyError, InvalidInput

KEY_BYTES = 32
_NONCE_BYTES = 12

metadata = MetaData()

vault_table = Table(
    "vault",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("key_check", LargeBinary, nullable=False),
)
borrowers_table = Table(
    "borrowers",
    metadata,
    Column("borrower", LargeBinary(20), primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("language", String, nullable=False),
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
    Column("person", LargeBinary(32), nullable=False, index=True),
    sqlite_with_rowid=False,
)

_VERSION = 1
_APPLICATION = 0x44756C79
"""Marks the file as a vault, so that no other database is taken for one."""


# ---------------------------------------------------------------------------------------------------- errors


class VaultError(DulyError):
    """The contact vault cannot be used."""


class NoMasterKey(VaultError):
    """There is no master key for the contact vault."""


class WrongMasterKey(VaultError):
    """This master key does not open this vault."""

    def __init__(self) -> None:
        super().__init__(
            "this master key does not open this vault; nothing was changed",
            wanted="the key with which the vault was made, or to which it was last rotated",
            remedy="Look at DULY_MASTER_KEY, DULY_MASTER_KEY_FILE and DULY_VAULT.",
        )


class InvalidMasterKey(InvalidInput):
    """This is not a master key."""


class UnknownBorrower(VaultError):
    """The vault knows nothing of this borrower."""

    def __init__(self, borrower: str) -> None:
        super().__init__(
            f"the vault knows nothing of {borrower}", remedy=f"Add an address: duly vault add {borrower}."
        )


class InvalidContact(InvalidInput):
    """This is no address at which somebody could be reached. The message never repeats it."""


# ------------------------------------------------------------------------------------------------ master key


class MasterKey:
    """32 bytes that open the vault. Never printed."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise InvalidMasterKey(f"a master key of {len(secret)} bytes", wanted=f"{KEY_BYTES} bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "MasterKey(…)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a master key is not to be pickled")

    @classmethod
    def generate(cls) -> Self:
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key from 64 hexadecimal digits or from base64.

        Raises: InvalidMasterKey, whose message does not repeat the text.
        """
        text = text.strip()
        try:
            digits = text.removeprefix("0x")
            if re.fullmatch("[0-9a-fA-F]{64}", digits):
                return cls(bytes.fromhex(digits))
            return cls(b64decode(text.replace("-", "+").replace("_", "/"), validate=True))
        except ValueError:
            raise InvalidMasterKey(
                "the master key is neither hexadecimal nor base64",
                wanted=f"{KEY_BYTES} bytes: 64 hexadecimal digits, or 44 characters of base64",
                remedy="Make one with duly vault init.",
            ) from None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The key from a file that its owner alone may read.

        Raises: NoMasterKey, InvalidMasterKey.
        """
        try:
            with path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & 0o077:
                    raise InvalidMasterKey(
                        f"others may read the key file {path} (mode {mode & 0o777:04o})",
                        wanted="mode 0600",
                        remedy=f"If nobody has read it: chmod 600 {path}.",
                    )
                return cls.from_text(file.read(1024))
        except FileNotFoundError:
            raise NoMasterKey(f"there is no key file {path}", remedy="Make one: duly vault init.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise NoMasterKey(f"the key file {path} cannot be read: {type(error).__name__}") from None

    def create_file(self, path: Path) -> None:
        """Write the key to a new file that its owner alone may read, and see it safely on the disk.

        Raises: VaultError, also where there is such a file already.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(b64encode(self._secret).decode() + "\n")
                file.flush()
                os.fsync(file.fileno())
            _sync_directory(path.parent)
        except FileExistsError:
            raise VaultError(
                f"there is a file {path} already; a key is never overwritten", remedy="Name another file."
            ) from None
        except OSError as error:
            raise VaultError(f"the key file {path} cannot be written: {error.strerror}") from None

    def derive(self, purpose: bytes) -> bytes:
        return _derive(self._secret, b"duly/vault/1/" + purpose)


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ----------------------------------------------------------------------------------------------------- vault


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a borrower's own key registers on chain for a contact."""

    borrower: str
    channel: Channel
    hash: bytes


@dataclass(frozen=True, slots=True)
class Contact:
    """A borrower's own address for a channel, as the vault gives it out for one delivery. Not printed.

    `language` is the one the borrower is written to in, `salt` the one for the purpose that was asked for.
    """

    borrower: str
    channel: Channel
    address: str
    commitment: bytes
    language: str
    salt: bytes

    def __repr__(self) -> str:
        return f"Contact({self.borrower}, {self.channel.name}, …)"


class Vault:
    """Addresses of borrowers, found by the borrower's address on chain (lower-case hexadecimal) alone.

    Every call is one transaction. Nothing is cached: what another process erases is gone at once.
    """

    def __init__(self, engine: Engine, key: MasterKey) -> None:
        self._engine = engine
        self._check = key.derive(b"check")
        self._wrapper = AESGCM(key.derive(b"wrap"))
        self._index = key.derive(b"person")

    # -------------------------------------------------------------------------------------------- opening

    @classmethod
    def open(cls, url: str, key: MasterKey) -> Self:
        """Open the vault at a database URL, making it where there is none.

        Raises: WrongMasterKey, VaultError.
        """
        vault = cls(_open_engine(url), key)
        try:
            with vault._writing(check=False) as connection:
                if not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
                    connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION}")
                    metadata.create_all(connection)
                    connection.execute(insert(vault_table).values(version=_VERSION, key_check=vault._check))
                version = connection.execute(select(vault_table.c.version)).scalar()
                if version != _VERSION:
                    raise VaultError(f"the vault is of version {version}", wanted=f"version {_VERSION}")
            with vault._reading():
                return vault
        except BaseException:
            vault.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------- writing

    def add(self, borrower: str, channel: Channel, address: str, *, language: str = "en") -> Commitment:
        """Keep the borrower's own address for a channel, in place of an earlier one.

        `language` is the one the borrower is written to in, for all channels.

        Returns: what the borrower's key has to register on chain.
        Raises: InvalidContact, VaultError.
        """
        return self.add_all([(borrower, channel, address)], language=language)[0]

    def add_all(
        self, contacts: Iterable[tuple[str, Channel, str]], *, language: str = "en"
    ) -> list[Commitment]:
        """Keep several borrowers' own addresses, all or none: (borrower, channel, address) each.

        Raises: InvalidContact, VaultError.
        """
        checked = [
            (_raw(borrower), channel, normalise(channel, text)) for borrower, channel, text in contacts
        ]
        if not re.fullmatch("[a-z]{2,3}", language):
            raise InvalidInput(f"{language!r} is not a language", wanted="a code such as en or zh")
        commitments = []
        with self._writing() as connection:
            for borrower, channel, address in checked:
                key = self._key_of(connection, borrower)
                if key is None:
                    key = secrets.token_bytes(KEY_BYTES)
                    connection.execute(
                        insert(borrowers_table).values(
                            borrower=borrower, wrapped_key=self._wrap(borrower, key), language=language
                        )
                    )
                else:
                    connection.execute(
                        update(borrowers_table)
                        .where(borrowers_table.c.borrower == borrower)
                        .values(language=language)
                    )
                connection.execute(
                    delete(contacts_table).where(
                        contacts_table.c.borrower == borrower, contacts_table.c.channel == int(channel)
                    )
                )
                connection.execute(
                    insert(contacts_table).values(
                        borrower=borrower,
                        channel=int(channel),
                        sealed_address=_seal(key, borrower, channel, address),
                        person=_person(self._index, channel, address),
                    )
                )
                commitments.append(Commitment(_text(borrower), channel, _commitment(key, channel, address)))
        return commitments

    def erase(self, *borrowers: str) -> int:
        """Forget borrowers: keys, addresses and index entries, down to the bytes of the database's file.

        Nothing on chain, in a notice or in a backup without its master key can be linked to them any more.

        Returns: how many of them were known.
        """
        erased = 0
        with self._writing() as connection:
            for borrower in borrowers:
                raw = _raw(borrower)
                connection.execute(delete(contacts_table).where(contacts_table.c.borrower == raw))
                erased += connection.execute(
                    delete(borrowers_table).where(borrowers_table.c.borrower == raw)
                ).rowcount
        # Deleted rows were overwritten (secure_delete); this also rewrites pages that rows were moved out of.
        with _clear_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
        return erased

    def rotate(self, new: MasterKey) -> int:
        """Put every borrower's key under another master key. Commitments and salts stay as they are.

        Returns: how many borrowers there are.
        """
        fresh = type(self)(self._engine, new)
        with self._writing() as connection:
            rows = connection.execute(select(borrowers_table.c.borrower)).all()
            for (borrower,) in rows:
                key = self._key_of(connection, borrower)
                if key is None:  # pragma: no cover - the transaction holds the row
                    continue
                connection.execute(
                    update(borrowers_table)
                    .where(borrowers_table.c.borrower == borrower)
                    .values(wrapped_key=fresh._wrap(borrower, key))
                )
                for channel, sealed in connection.execute(
                    select(contacts_table.c.channel, contacts_table.c.sealed_address).where(
                        contacts_table.c.borrower == borrower
                    )
                ).all():
                    address = _unseal(key, borrower, Channel(channel), sealed)
                    connection.execute(
                        update(contacts_table)
                        .where(contacts_table.c.borrower == borrower, contacts_table.c.channel == channel)
                        .values(person=_person(fresh._index, Channel(channel), address))
                    )
            connection.execute(update(vault_table).values(key_check=fresh._check))
        with _clear_errors(), self._engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
        self._check, self._wrapper, self._index = fresh._check, fresh._wrapper, fresh._index
        return len(rows)

    # -------------------------------------------------------------------------------------------- reading

    def contact(self, borrower: str, channel: Channel, purpose: bytes = b"") -> Contact | None:
        """The borrower's own address, its commitment and a salt, for one delivery; None for none."""
        raw = _raw(borrower)
        with self._reading() as connection:
            row = connection.execute(
                select(
                    borrowers_table.c.wrapped_key,
                    borrowers_table.c.language,
                    contacts_table.c.sealed_address,
                )
                .join_from(borrowers_table, contacts_table)
                .where(contacts_table.c.borrower == raw, contacts_table.c.channel == int(channel))
            ).first()
        if row is None:
            return None
        key = self._unwrap(raw, row.wrapped_key)
        address = _unseal(key, raw, channel, row.sealed_address)
        return Contact(
            _text(raw),
            channel,
            address,
            _commitment(key, channel, address),
            row.language,
            _salt(key, purpose),
        )

    def address_of(self, borrower: str, channel: Channel) -> str | None:
        """The borrower's own address for a channel; None where there is none."""
        contact = self.contact(borrower, channel)
        return contact.address if contact else None

    def commitment(self, borrower: str, channel: Channel) -> bytes | None:
        """What the borrower's key registers on chain for the address kept; None where there is none."""
        contact = self.contact(borrower, channel)
        return contact.commitment if contact else None

    def salt_for(self, borrower: str, purpose: bytes) -> bytes:
        """32 bytes that the borrower's key and a purpose determine, the same until the borrower is erased.

        Raises: UnknownBorrower.
        """
        with self._reading() as connection:
            key = self._key_of(connection, _raw(borrower))
        if key is None:
            raise UnknownBorrower(borrower)
        return _salt(key, purpose)

    def language_of(self, borrower: str) -> str:
        """The language that the borrower is written to in; "en" of a borrower the vault does not know."""
        with self._reading() as connection:
            found = connection.execute(
                select(borrowers_table.c.language).where(borrowers_table.c.borrower == _raw(borrower))
            ).scalar()
        return found or "en"

    def borrowers_at(self, channel: Channel, address: str) -> list[str]:
        """The borrower addresses of whoever is reached there: to act on a word that came from there.

        Raises: InvalidContact.
        """
        person = _person(self._index, channel, normalise(channel, address))
        with self._reading() as connection:
            found = connection.execute(
                select(contacts_table.c.borrower).where(
                    contacts_table.c.channel == int(channel), contacts_table.c.person == person
                )
            ).scalars()
            return [_text(raw) for raw in found]

    def channels_of(self, borrower: str) -> list[Channel]:
        """The channels for which there is an address."""
        with self._reading() as connection:
            found = connection.execute(
                select(contacts_table.c.channel)
                .where(contacts_table.c.borrower == _raw(borrower))
                .order_by(contacts_table.c.channel)
            ).scalars()
            return [Channel(channel) for channel in found]

    def borrowers(self) -> list[str]:
        """Everyone whom the vault knows."""
        with self._reading() as connection:
            return [_text(raw) for raw in connection.execute(select(borrowers_table.c.borrower)).scalars()]

    def person_of(self, borrower: str) -> bytes:
        """What all borrower addresses of one person have in common, 32 opaque bytes, for caps per person.

        Two borrower addresses are one person's where they share a contact, or each shares one with a third.
        A borrower whom the vault does not know is a person of their own.
        """
        raw = _raw(borrower)
        with self._reading() as connection:
            seen, fresh = {raw}, {raw}
            indexes: set[bytes] = set()
            while fresh:
                found = set(
                    connection.execute(
                        select(contacts_table.c.person).where(contacts_table.c.borrower.in_(fresh))
                    ).scalars()
                )
                indexes |= found
                fresh = (
                    set(
                        connection.execute(
                            select(contacts_table.c.borrower).where(contacts_table.c.person.in_(found))
                        ).scalars()
                    )
                    - seen
                )
                seen |= fresh
        return min(indexes) if indexes else self._stranger(raw)

    def persons(self) -> dict[str, bytes]:
        """`person_of` of everyone whom the vault knows, in one pass."""
        with self._reading() as connection:
            rows = connection.execute(select(contacts_table.c.borrower, contacts_table.c.person)).all()
            everyone = connection.execute(select(borrowers_table.c.borrower)).scalars().all()
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
        return {_text(raw): find(one_of[raw]) if raw in one_of else self._stranger(raw) for raw in everyone}

    # ------------------------------------------------------------------------------------------- innards

    def _stranger(self, raw: bytes) -> bytes:
        return hmac.digest(self._index, b"borrower" + raw, hashlib.sha256)

    def _wrap(self, borrower: bytes, key: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._wrapper.encrypt(nonce, key, b"duly/key/1" + borrower)

    def _key_of(self, connection: Connection, borrower: bytes) -> bytes | None:
        wrapped = connection.execute(
            select(borrowers_table.c.wrapped_key).where(borrowers_table.c.borrower == borrower)
        ).scalar()
        return None if wrapped is None else self._unwrap(borrower, wrapped)

    def _unwrap(self, borrower: bytes, wrapped: bytes) -> bytes:
        try:
            return self._wrapper.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], b"duly/key/1" + borrower
            )
        except InvalidTag:
            raise VaultError(
                f"the key of {_text(borrower)} was altered", remedy="Restore the vault from a backup."
            ) from None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _clear_errors(), self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN")
            self._check_key(connection)
            yield connection

    @contextmanager
    def _writing(self, *, check: bool = True) -> Iterator[Connection]:
        with _clear_errors(), self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            if check:
                self._check_key(connection)
            yield connection

    def _check_key(self, connection: Connection) -> None:
        # In every transaction: another process may have rotated the master key meanwhile.
        found = connection.exec_driver_sql("SELECT key_check FROM vault").scalar()
        if found is None or not hmac.compare_digest(found, self._check):
            raise WrongMasterKey


# ------------------------------------------------------------------------------------------------- addresses

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)+(xn--[a-z0-9-]{{1,59}}|[a-z]{{2,63}})")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_TOKEN = re.compile(r"[!-~]{1,512}")


def normalise(channel: Channel, address: str) -> str:
    """The form of an address that is kept, hashed and written to.

    E-mail: no surrounding space, the domain in lower case. SMS: `+` and digits alone.

    Raises: InvalidContact, whose message does not repeat the address.
    """
    text = unicodedata.normalize("NFC", address).strip()
    if channel is Channel.EMAIL:
        local, at, domain = text.rpartition("@")
        domain = domain.lower()
        if not domain.isascii():
            raise InvalidContact(
                "the e-mail address has a domain beyond ASCII", wanted="the domain in its xn-- form"
            )
        if not (at and len(local) <= 64 and len(text) <= 254):
            raise InvalidContact("this is no e-mail address", wanted="somebody@example.org")
        if not (_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain)):
            raise InvalidContact("this is no e-mail address", wanted="somebody@example.org")
        return f"{local}@{domain}"
    if channel is Channel.SMS:
        text = re.sub(r"[\s().-]", "", text)
        if not _PHONE.fullmatch(text):
            raise InvalidContact(
                "this is no telephone number", wanted="+ and the country code, then the number"
            )
        return text
    if not _TOKEN.fullmatch(text):
        raise InvalidContact(
            f"this is no address for {channel.name.lower()}", wanted="a token without spaces"
        )
    return text


def masked(channel: Channel, address: str) -> str:
    """An address as it may be shown to whoever only has to recognise it."""
    if channel is Channel.EMAIL:
        local, _, domain = address.rpartition("@")
        top = domain.rpartition(".")[2]
        return f"{local[:1]}***@{domain[:1]}***.{top}"
    return f"***{address[-2:]}"


def _salt(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(_derive(key, b"duly/salt/1"), purpose, hashlib.sha256)


def _commitment(key: bytes, channel: Channel, address: str) -> bytes:
    """keccak256(abi.encode(bytes32 salt, uint8 channel, string address))."""
    text = address.encode()
    words = [_salt(key, b"contact" + bytes([channel])), _word(channel), _word(96), _word(len(text))]
    return keccak(b"".join(words) + text + bytes(-len(text) % 32))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _field(borrower: bytes, channel: Channel) -> bytes:
    return b"duly/contact/1" + borrower + bytes([channel])


def _seal(key: bytes, borrower: bytes, channel: Channel, address: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    # Padded, so that the length of what is sealed says nothing.
    text = address.encode()
    plain = len(text).to_bytes(2, "big") + text + bytes(-(len(text) + 2) % 64)
    return nonce + AESGCM(_derive(key, b"duly/seal/1")).encrypt(nonce, plain, _field(borrower, channel))


def _unseal(key: bytes, borrower: bytes, channel: Channel, sealed: bytes) -> str:
    try:
        plain = AESGCM(_derive(key, b"duly/seal/1")).decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _field(borrower, channel)
        )
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
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput("DULY_VAULT is not a database URL", wanted="sqlite:///duly-vault.db") from None
    if parsed.get_backend_name() != "sqlite":
        raise InvalidInput("the vault is kept in SQLite so far", wanted="sqlite:///duly-vault.db")
    path = parsed.database
    if not path or path == ":memory:":
        engine = create_engine(
            parsed, poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True
        )
    else:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise VaultError(f"the vault {path} cannot be opened: {error.strerror}") from None
        engine = create_engine(parsed, connect_args={"timeout": 30}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        if pages and cursor.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise VaultError(
                f"{path} is another database, not a vault",
                wanted="a file of its own",
                remedy="Look at DULY_VAULT.",
            )
        # A rollback journal, not a write-ahead log: once a deletion is committed no other file has its bytes.
        for pragma in ("journal_mode=DELETE", "secure_delete=ON", "foreign_keys=ON", "synchronous=EXTRA"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # The driver's own words, never the statement's parameters.
        raise VaultError(
            f"the vault's database failed: {error.orig}",
            remedy="See that DULY_VAULT names the vault, that it can be written, and that nothing holds it.",
        ) from None
