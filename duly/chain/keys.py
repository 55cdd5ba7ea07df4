"""Keys that sign: a keystore file's, one behind a remote signer, or on local chains a raw one.

A remote signer keeps the key to itself and answers JSON-RPC: Web3Signer (`eth_accounts`,
`eth_signTransaction`), Clef (`account_list`, `account_signTransaction`), and whatever speaks like either. It
is not trusted: what it returns is decoded, and sent only if it is what was asked for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from duly.chain import networks
from duly.chain.errors import ChainError, KeyRefused

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

KEYSTORES: Final = (
    Path(__file__).resolve().parents[2] / "build/home/.brownie/accounts",
    Path("~/.brownie/accounts"),
    Path("~/.foundry/keystores"),
)
"""Where keystore files lie under a name: Brownie's of this checkout, Brownie's of this user, Foundry's."""

_PATIENCE: Final = 120.0
"""Seconds that a signer may take: a person may have to confirm."""
_NO_SUCH_METHOD: Final = -32601


class SignedBytes(Protocol):
    """A signed transaction."""

    @property
    def raw_transaction(self) -> bytes:
        """As a node takes it."""

    @property
    def hash(self) -> bytes:
        """Its id on the chain."""


class Signer(Protocol):
    """Signs the transactions of one account."""

    @property
    def address(self) -> Any:
        """The account, checksummed."""

    def sign_transaction(self, transaction_dict: Any) -> SignedBytes:
        """Sign; the fields are named as in JSON-RPC.

        Raises: KeyRefused; SignerUnavailable.
        """

    def unsafe_sign_hash(self, message_hash: Any) -> Any:
        """Sign a hash, as offers and consents need it. Raises: KeyRefused."""


class SignerUnavailable(ChainError):
    """The remote signer does not answer."""


# ------------------------------------------------------------------------------------ keys in files


def read_key_file(path: Path, passphrase: str) -> "LocalAccount":
    """The account whose encrypted key a keystore file holds.

    Raises: KeyRefused, when it cannot be read, or not with this passphrase.
    """
    try:
        account = Account.from_key(Account.decrypt(json.loads(path.read_text(encoding="utf-8")), passphrase))
    except OSError as error:
        raise KeyRefused(f"the key file {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        if "MAC mismatch" in str(error):
            raise KeyRefused(f"this is not the passphrase of {path}") from None
        raise KeyRefused(
            f"{path} is no keystore file", wanted="the JSON that a wallet exports, version 3"
        ) from None
    return cast("LocalAccount", account)


def find_keystore(name: str, folders: Sequence[Path] = KEYSTORES) -> Path:
    """The keystore file of this name, as `brownie accounts new NAME` and `cast wallet import NAME` make them.

    Raises: KeyRefused, naming those that are there.
    """
    known: list[str] = []
    for folder in map(Path.expanduser, folders):
        for path in (folder / f"{name}.json", folder / name):
            if path.parent == folder and path.is_file():
                return path
        if folder.is_dir():
            known += [path.stem for path in folder.iterdir() if path.is_file()]
    raise KeyRefused(
        f"there is no account {name!r} in {', '.join(map(str, folders))}",
        wanted=f"one of {', '.join(sorted(set(known)))}" if known else "the name of a keystore file there",
        remedy=f"Make one with `brownie accounts new {name}`, or name a file with DULY_KEY_FILE.",
    )


def check_raw_key(chain_id: int) -> None:
    """Refuse a key that lies about unencrypted, but on a local chain.

    Raises: KeyRefused.
    """
    if not networks.is_local(chain_id):
        raise KeyRefused(
            f"raw keys are for local chains only, not for chain {networks.chain_name(chain_id)}",
            wanted="DULY_KEY_FILE, an encrypted keystore file, or DULY_SIGNER_URL, a remote signer",
            remedy="Unset DULY_PRIVATE_KEY. `cast wallet import` or any wallet makes a keystore file.",
        )


# ----------------------------------------------------------------------------------- remote signers


@dataclass(frozen=True, slots=True)
class _Signed:
    raw_transaction: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """An account whose key a remote signer keeps. It signs transactions alone."""

    url: str
    address: str
    """Checksummed."""

    @classmethod
    def of(cls, url: str, address: str | None = None) -> "RemoteSigner":
        """The signer at a URL. address: which of its accounts; not needed where it has one.

        Raises: SignerUnavailable; KeyRefused, where the account is not there, or it is not clear which.
        """
        listed = _ask(url, ("eth_accounts", "account_list"), [])
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise KeyRefused(f"the signer at {networks.shown_url(url)} does not tell its accounts")
        accounts = [each.lower() for each in listed]
        if address is None and len(accounts) == 1:
            return cls(url, to_checksum_address(accounts[0]))
        shown = ", ".join(map(to_checksum_address, accounts)) or "none"
        if address is None:
            raise KeyRefused(
                f"the signer at {networks.shown_url(url)} has {len(accounts)} accounts ({shown})",
                wanted="DULY_SIGNER_ADDRESS, to tell which one to use",
            )
        if address.lower() not in accounts:
            raise KeyRefused(
                f"the signer at {networks.shown_url(url)} has no account {to_checksum_address(address)}",
                wanted=f"one that it has: {shown}",
            )
        return cls(url, to_checksum_address(address))

    def sign_transaction(self, transaction_dict: Mapping[str, Any]) -> SignedBytes:
        """Have a transaction signed, and check that exactly this one was.

        Raises: SignerUnavailable; KeyRefused, when the signer declines, or signed something else.
        """
        asked = {"from": self.address} | {
            name: hex(value) if isinstance(value, int) else value if isinstance(value, str) else _hex(value)
            for name, value in transaction_dict.items()
            # The other fields tell the type, and not every signer knows the name.
            if name != "type"
        }
        answer = _ask(self.url, ("eth_signTransaction", "account_signTransaction"), [asked])
        raw = answer.get("raw") if isinstance(answer, Mapping) else answer
        try:
            signed = bytes.fromhex(str(raw).removeprefix("0x"))
            different = _differences(signed, transaction_dict)
            signer = str(Account.recover_transaction(signed))
        except Exception as error:
            raise KeyRefused(
                f"what the signer at {networks.shown_url(self.url)} returned is no signed transaction "
                f"({type(error).__name__})"
            ) from None
        if different:
            raise KeyRefused(
                f"the signer at {networks.shown_url(self.url)} signed another transaction: "
                f"{', '.join(different)} differ",
                wanted="exactly what it was asked to sign",
                remedy="Nothing was sent. Find out who answers at that address.",
            )
        if signer != self.address:
            raise KeyRefused(
                f"the signer at {networks.shown_url(self.url)} signed with another key, that of {signer}",
                wanted=self.address,
                remedy="Nothing was sent.",
            )
        return _Signed(signed, keccak(signed))

    def unsafe_sign_hash(self, message_hash: Any) -> Any:
        """Refused: no remote signer signs a bare hash."""
        raise KeyRefused(
            "a remote signer signs transactions only, no offers and no instructions",
            remedy="Sign with a wallet (`duly offer show` writes what it takes), or with DULY_KEY_FILE.",
        )


def _hex(value: Any) -> str:
    return "0x" + bytes(value).hex()


_TYPED: Final = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data")
_UNTYPED: Final = ("nonce", "gasPrice", "gas", "to", "value", "data")


def decoded(signed: bytes) -> dict[str, Any]:
    """The fields of a signed transaction, as they were given to be signed.

    Raises: ValueError, when it is none, or of a type that is not used here.
    """
    import rlp  # type: ignore[import-untyped,unused-ignore]

    typed = signed[:1] == b"\2"
    names = _TYPED if typed else _UNTYPED
    fields = rlp.decode(signed[1:] if typed else signed)
    if len(fields) != len(names) + (4 if typed else 3) or (typed and fields[8] != []):
        raise ValueError("neither a plain transaction nor one with EIP-1559 fees alone")
    found: dict[str, Any] = {
        name: bytes(value) if name in ("to", "data") else int.from_bytes(value, "big")
        for name, value in zip(names, fields, strict=False)
    }
    if typed:
        found["type"] = 2
    else:
        # The signature's first number holds the chain's id (EIP-155).
        found["chainId"] = (int.from_bytes(fields[6], "big") - 35) // 2
    to = found.pop("to")
    return found | ({"to": to_checksum_address(to)} if to else {})


def _differences(signed: bytes, asked: Mapping[str, Any]) -> list[str]:
    """The fields in which a signed transaction is not the one that was asked for."""
    found = decoded(signed)
    return sorted(name for name in found.keys() | asked.keys() if found.get(name) != asked.get(name))


def _ask(url: str, methods: Sequence[str], parameters: list[Any]) -> Any:
    """What the signer answers to the first of these methods that it knows."""
    import httpx

    shown = networks.shown_url(url)
    problem: object = None
    for method in methods:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            response = httpx.post(url, json=question, timeout=httpx.Timeout(10.0, read=_PATIENCE))
            answer = response.json()
        except httpx.HTTPError as error:
            raise SignerUnavailable(
                f"the signer at {shown} does not answer ({type(error).__name__})",
                remedy="Start it, or correct DULY_SIGNER_URL.",
            ) from None
        except ValueError:
            raise SignerUnavailable(
                f"the signer at {shown} does not answer in JSON (HTTP {response.status_code})",
                wanted="the address of a signer that speaks JSON-RPC, such as Web3Signer or Clef",
            ) from None
        if isinstance(answer, Mapping) and "result" in answer and answer.get("error") is None:
            return answer["result"]
        problem = answer.get("error") if isinstance(answer, Mapping) else None
        if not isinstance(problem, Mapping) or problem.get("code") != _NO_SUCH_METHOD:
            break
    told = problem.get("message") if isinstance(problem, Mapping) else None
    raise KeyRefused(f"the signer at {shown} declined: {told or 'without a reason'}")
