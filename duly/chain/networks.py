"""Connects to a chain: eth-tester in this process, or any node over http or a websocket, by its address or by
the name that `network-config.yaml` gives it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from eth_account import Account
from requests.exceptions import RequestException
from web3 import HTTPProvider, Web3
from web3.middleware import ExtraDataToPOAMiddleware
from web3.providers.rpc.utils import ExceptionRetryConfiguration

from duly.chain.errors import ChainUnavailable, KeyRefused, WrongChain, cause_of, explained
from duly.domain.errors import InvalidInput

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

IN_PROCESS: Final = "tester:"
CONFIG: Final = "network-config.yaml"
"""The file that names networks, in Brownie's format."""
ETH_TESTER: Final = 131277322940537
LOCAL_CHAINS: Final = frozenset({31337, 1337, ETH_TESTER})
"""Chain ids of Anvil and Hardhat, of Ganache and Geth's developer mode, and of eth-tester: coins and tokens
there are worth nothing.
"""

_NAMES: Final = {
    1: "Ethereum",
    10: "OP Mainnet",
    137: "Polygon",
    1337: "a local chain",
    8453: "Base",
    17000: "Holesky",
    31337: "Anvil or Hardhat",
    42161: "Arbitrum One",
    560048: "Hoodi",
    11155111: "Sepolia",
    ETH_TESTER: "eth-tester",
}
IN_PROCESS_ACCOUNT: Final = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
"""Development account 0 of a chain in this process."""

_LOCAL_POLL: Final = 0.001
_REMOTE_POLL: Final = 0.5
_TIMEOUT: Final = 30
# Public knowledge: every Anvil and Hardhat chain starts with these accounts funded.
_DEVELOPMENT_PHRASE: Final = "test test test test test test test test test test test junk"
_DEVELOPMENT_ACCOUNTS: Final = 10


class InvalidNetwork(InvalidInput):
    """There is no network of this name, or it is not set up."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that `network-config.yaml` names. host: a node's address, perhaps with `$VARIABLES` in it."""

    name: str
    host: str = field(repr=False)
    chain_id: int | None = None

    @property
    def url(self) -> str:
        """The node's address. Raises: InvalidNetwork, where a variable is missing."""
        url = os.path.expandvars(self.host)
        missing = re.findall(r"\$\{?(\w+)", url)
        if missing:
            raise InvalidNetwork(
                f"the node of the network {self.name} is not set",
                wanted=f"the environment variable {', '.join(missing)}",
                remedy=f"Set it to the address of a node, such as your provider's: export {missing[0]}=https://…",
            )
        return url


def networks(path: Path | None = None) -> Mapping[str, Network]:
    """The networks by name; by default, of the file in the working folder, else of the checkout's own.

    Raises: InvalidNetwork, where the file cannot be understood.
    """
    import yaml

    for known in [path] if path else [Path(CONFIG), Path(__file__).resolve().parents[2] / CONFIG]:
        if known.is_file():
            break
    else:
        return {}
    try:
        content = yaml.safe_load(known.read_text(encoding="utf-8")) or {}
        entries = [each for group in content.get("live") or [] for each in group["networks"]]
        found = [
            Network(str(each["id"]), str(each["host"]), int(each["chainid"]) if "chainid" in each else None)
            for each in entries
        ]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
        raise InvalidNetwork(
            f"{known} cannot be understood",
            wanted="live: groups of networks, each with id, host and chainid, as Brownie has them",
        ) from None
    return {each.name: each for each in found}


def find_network(name: str) -> Network:
    """The network of this name. Raises: InvalidNetwork, naming those that there are."""
    known = networks()
    if name not in known:
        raise InvalidNetwork(
            f"there is no network {name!r}",
            wanted=f"one of {', '.join(known)}" if known else f"a file {CONFIG} that names it",
            remedy=f"Add it to {CONFIG}, or give the address of a node.",
        )
    return known[name]


def is_name(text: str) -> bool:
    """It names a network, rather than being an address."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text) is not None


def address_of(node: str) -> str:
    """The address of a node that is told by its address or by its network's name.

    Raises: InvalidNetwork.
    """
    return find_network(node).url if is_name(node) else node


def connect(url: str, expected: int | None = None) -> Web3:
    """A chain to talk to.

    url: `tester:` for a chain of its own in this process, a node's http or ws address, or a network's name.
    expected: the chain's id, where only one will do.

    Raises: ChainUnavailable, when no node answers there; WrongChain; InvalidNetwork.
    """
    if is_name(url):
        network = find_network(url)
        return connect(network.url, expected or network.chain_id)
    if url == IN_PROCESS:
        w3 = in_process()
    elif url.startswith(("http://", "https://")):
        retry = ExceptionRetryConfiguration(
            errors=(ConnectionError, RequestException), retries=3, backoff_factor=0.1
        )
        w3 = Web3(
            HTTPProvider(url, request_kwargs={"timeout": _TIMEOUT}, exception_retry_configuration=retry)
        )
    elif url.startswith(("ws://", "wss://")):
        from web3 import LegacyWebSocketProvider

        w3 = Web3(LegacyWebSocketProvider(url, websocket_timeout=_TIMEOUT))
    else:
        raise ChainUnavailable(
            f"{shown_url(url)} is no address of a node",
            wanted="http://…, https://…, ws://…, wss://…, tester:, or a network's name",
        )
    # Proof-of-authority chains put more into a block's header than web3.py expects.
    w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    # It would ask for the chain's id before every call; the sender signs for one chain anyway.
    w3.middleware_onion.remove("validation")
    try:
        chain_id = w3.eth.chain_id
    except Exception as error:
        raise ChainUnavailable(
            f"no node answers at {shown_url(url)} ({cause_of(error)})",
            remedy="Start one (for a local chain: `anvil`), or name another with --rpc or DULY_RPC.",
        ) from error
    check_chain(chain_id, expected)
    return w3


def in_process(timestamp: int | None = None) -> Web3:
    """A chain of its own in this process, that ends with it.

    timestamp: of its first block; then each block is one second later, whatever the time here. By default
    blocks have the time at which they are made.
    """
    from eth_tester import EthereumTester, PyEVMBackend
    from web3 import EthereumTesterProvider

    parameters = None if timestamp is None else PyEVMBackend.generate_genesis_params({"timestamp": timestamp})
    backend = PyEVMBackend(genesis_parameters=parameters)
    backend.chain.gas_estimator = _estimate_in_one_run
    if timestamp is not None:
        _count_seconds(backend.chain)
    return Web3(EthereumTesterProvider(EthereumTester(backend)))


def _count_seconds(chain: Any) -> None:
    """Give each block the second after its parent's."""
    create = chain.create_header_from_parent

    def create_later(parent: Any, **parameters: Any) -> Any:
        return create(parent, **({"timestamp": parent.timestamp + 1} | parameters))

    chain.create_header_from_parent = create_later
    chain.header = create_later(chain.get_canonical_head())


def _estimate_in_one_run(state: Any, transaction: Any) -> int:
    """What a transaction uses when it is given all that a block has; before refunds.

    py-evm would search for the least that it needs, in a dozen runs or more. Senders add headroom anyway.
    """
    from eth.vm.spoof import SpoofTransaction

    snapshot = state.snapshot()
    try:
        generous = SpoofTransaction(transaction, gas=state.gas_limit, gas_price=0)
        computation = state.apply_transaction(generous)
        if computation.is_error:
            raise computation.error
        return int(state.gas_limit - computation.get_gas_remaining())
    finally:
        state.revert(snapshot)


def check_chain(chain_id: int, expected: int | None) -> None:
    """Refuse any other chain than the expected one.

    Raises: WrongChain.
    """
    if expected is not None and chain_id != expected:
        raise WrongChain(
            f"the node is on chain {chain_name(chain_id)}",
            wanted=f"chain {chain_name(expected)}",
            remedy="Name the address of the right node with --rpc or DULY_RPC.",
        )


def is_local(chain_id: int) -> bool:
    """A chain for development: coins on it are worth nothing, keys may be known to everyone."""
    return chain_id in LOCAL_CHAINS


def is_in_process(w3: Web3) -> bool:
    """The chain lives in this process, and ends with it."""
    return getattr(w3.provider, "ethereum_tester", None) is not None


def chain_name(chain_id: int) -> str:
    """A chain's id, with its name where it is well known."""
    name = _NAMES.get(chain_id)
    return f"{chain_id} ({name})" if name else str(chain_id)


def poll_latency(w3: Web3) -> float:
    """Seconds between two looks for a receipt: short where looking costs nothing."""
    host = urlsplit(str(getattr(w3.provider, "endpoint_uri", "") or "")).hostname
    near = is_in_process(w3) or host in ("localhost", "127.0.0.1", "::1")
    return _LOCAL_POLL if near else _REMOTE_POLL


def shown_url(url: str) -> str:
    """A node's address for a message: providers put keys into user names, paths and queries."""
    if url == IN_PROCESS:
        return url
    match = re.match(r"([a-z]+)://(?:[^@/?#]*@)?([^/?#]+)", url)
    return f"{match[1]}://{match[2]}" if match else "this"


def development_account(w3: Web3, number: int = 0) -> "LocalAccount":
    """One of the funded accounts, 0 to 9, that every local chain starts with, and whose keys everyone knows.

    Raises: KeyRefused on a chain that is not local.
    """
    with explained():
        chain_id = w3.eth.chain_id
    if not is_local(chain_id):
        raise KeyRefused(
            f"the development accounts' keys are known to everyone: not on chain {chain_name(chain_id)}",
            remedy="Set DULY_KEY_FILE to a keystore file.",
        )
    if not 0 <= number < _DEVELOPMENT_ACCOUNTS:
        raise KeyRefused(
            f"there is no development account {number}", wanted=f"0 to {_DEVELOPMENT_ACCOUNTS - 1}"
        )
    if is_in_process(w3):
        return Account.from_key((number + 1).to_bytes(32, "big"))  # type: ignore[no-any-return]
    Account.enable_unaudited_hdwallet_features()
    return Account.from_mnemonic(_DEVELOPMENT_PHRASE, account_path=f"m/44'/60'/0'/0/{number}")  # type: ignore[no-any-return]
