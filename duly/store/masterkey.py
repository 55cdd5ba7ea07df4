"""The master key of the contact vault: from a file, from text, or from the keyring of the operating system.

VaultError                  the contact vault cannot be used
└── NoMasterKey             there is no master key for it
InvalidMasterKey            this is not a master key
"""

import os
import re
import secrets
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from duly.domain.errors import DulyError, InvalidInput

KEY_BYTES = 32


class VaultError(DulyError):
    """The contact vault cannot be used."""


class NoMasterKey(VaultError):
    """There is no master key for the contact vault."""


class InvalidMasterKey(InvalidInput):
    """This is not a master key."""


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
    def from_file(cls, path: Path, *, guarded: bool = False) -> Self:
        """The key from a file that its owner alone may read.

        guarded: its folder keeps others out, so that the group may read it. systemd lets a service read its
        credentials by an access list, which shows as a right of the group.

        Raises: NoMasterKey, InvalidMasterKey.
        """
        try:
            with path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (0o007 if guarded else 0o077):
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

    @classmethod
    def from_keyring(cls, entry: str) -> Self:
        """The key from the operating system's keyring, where `entry` is service/name.

        Raises: NoMasterKey, InvalidMasterKey.
        """
        service, name = split_entry(entry)
        try:
            text = _keyring().get_password(service, name)
        except VaultError:
            raise
        except Exception as error:  # whatever the system's keyring raises, and it may quote what it holds
            raise NoMasterKey(f"the keyring cannot be read: {type(error).__name__}") from None
        if text is None:
            raise NoMasterKey(
                f"the keyring holds no password {name} of {service}",
                remedy=f"Make a key: duly vault init --keyring {entry}.",
            )
        return cls.from_text(text)

    def create_in_keyring(self, entry: str) -> None:
        """Put the key into the operating system's keyring, where there is none of that name.

        Raises: VaultError, also where there is such an entry already.
        """
        service, name = split_entry(entry)
        keyring = _keyring()
        try:
            taken = keyring.get_password(service, name) is not None
            if not taken:
                keyring.set_password(service, name, b64encode(self._secret).decode())
        except Exception as error:
            raise VaultError(f"the keyring cannot be written: {type(error).__name__}") from None
        if taken:
            raise VaultError(
                f"the keyring holds a password {name} of {service} already; a key is never overwritten",
                remedy="Name another one.",
            )

    def derive(self, purpose: bytes) -> bytes:
        """A key for one purpose."""
        return derive(self._secret, b"duly/vault/1/" + purpose)


def split_entry(entry: str) -> tuple[str, str]:
    """Service and name of a keyring's entry such as duly/vault.

    Raises: InvalidInput.
    """
    service, slash, name = entry.rpartition("/")
    if not (service and slash and name):
        raise InvalidInput("this names no entry of a keyring", wanted="service/name, such as duly/vault")
    return service, name


def _keyring() -> Any:
    try:
        import keyring
    except ImportError:
        raise VaultError(
            "the package keyring is not installed",
            remedy="Install it (pip install 'duly[keyring]'), or keep the key in a file.",
        ) from None
    return keyring


def derive(secret: bytes, info: bytes) -> bytes:
    """A key from another one, for what `info` says."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
