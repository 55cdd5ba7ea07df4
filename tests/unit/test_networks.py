"""Chains, and the keys that go with them."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from duly.bootstrap import Application
from duly.chain import networks
from duly.chain.errors import ChainUnavailable, KeyRefused, WrongChain
from duly.chain.keys import check_raw_key, find_keystore, read_key_file
from duly.chain.networks import InvalidNetwork
from duly.chain.sender import created_address
from duly.config import Settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://user:secret@node.example:99/v3/secret?key=secret", "https://node.example:99"),
        ("wss://node.example/secret", "wss://node.example"),
        ("tester:", "tester:"),
        ("secret", "this"),
    ],
)
def test_addresses_show_no_keys(url: str, shown: str) -> None:
    assert networks.shown_url(url) == shown


def test_what_is_no_address() -> None:
    for url in ("", "node.example", "ftp://x", "file:///etc/passwd"):
        with pytest.raises(ChainUnavailable, match="no address of a node"):
            networks.connect(url)


def test_the_networks_that_come_along_name_no_node_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    known = networks.networks()
    assert {"local", "mainnet", "sepolia"} <= known.keys()
    for network in known.values():
        assert network.chain_id
        assert network.host.startswith("$") or network.name == "local"
    monkeypatch.setenv("SEPOLIA_RPC_URL", "https://node.example/secret")
    assert networks.find_network("sepolia").url == "https://node.example/secret"
    assert "secret" not in repr(networks.find_network("sepolia"))


def test_a_network_that_is_not_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEPOLIA_RPC_URL", raising=False)
    with pytest.raises(InvalidNetwork, match="variable SEPOLIA_RPC_URL"):
        networks.connect("sepolia")
    with pytest.raises(InvalidNetwork, match=r"no network .sepulia.*wanted: one of .*sepolia"):
        networks.connect("sepulia")


def test_a_network_whose_node_is_a_websocket_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPOLIA_RPC_URL", "wss://node.example/key")
    assert Application(Settings(rpc="sepolia")).websocket == "wss://node.example/key"
    assert Application(Settings(rpc="http://node.example")).websocket is None
    ours = Settings(rpc="http://node.example", rpc_ws="ws://other.example")
    assert Application(ours).websocket == "ws://other.example"


def test_a_file_of_ones_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / networks.CONFIG
    file.write_text("live: [{name: Ours, networks: [{id: ours, host: 'http://node.example'}]}]")
    assert list(networks.networks()) == ["ours"]
    for text in (
        "live: 5",
        "live: [{name: Ours}]",
        "live: [{networks: [{host: x}]}]",
        "a: [",
        "[1]",
        "live: [5]",
    ):
        file.write_text(text)
        with pytest.raises(InvalidNetwork, match=r"network-config.yaml cannot be understood"):
            networks.networks()


def test_a_keystore_has_a_name(tmp_path: Path) -> None:
    brownies, foundrys = tmp_path / "brownie", tmp_path / "foundry"
    for path in (brownies / "lender.json", foundrys / "deployer"):
        path.parent.mkdir()
        path.write_text("{}")
    folders = (brownies, foundrys, tmp_path / "none")
    assert find_keystore("lender", folders) == brownies / "lender.json"
    assert find_keystore("deployer", folders) == foundrys / "deployer"
    for name in ("nobody", "../foundry/deployer", ""):
        with pytest.raises(KeyRefused, match="wanted: one of deployer, lender"):
            find_keystore(name, folders)


def test_another_chain_than_expected() -> None:
    networks.check_chain(1, 1)
    networks.check_chain(1, None)
    with pytest.raises(WrongChain, match=r"on chain 1 \(Ethereum\) .*wanted: chain 11155111 \(Sepolia\)"):
        networks.check_chain(1, 11155111)


def test_local_chains() -> None:
    assert networks.is_local(31337)
    assert networks.is_local(1337)
    assert networks.is_local(networks.ETH_TESTER)
    assert not networks.is_local(1)
    check_raw_key(31337)
    with pytest.raises(KeyRefused, match="DULY_KEY_FILE"):
        check_raw_key(1)


def test_the_embedded_chain_is_local_and_starts_with_funded_accounts() -> None:
    w3 = networks.connect(networks.IN_PROCESS)
    assert networks.is_in_process(w3)
    assert w3.eth.chain_id == networks.ETH_TESTER
    for number in (0, 9):
        account = networks.development_account(w3, number)
        assert w3.eth.get_balance(account.address) > 0
    assert networks.development_account(w3).address.lower() == networks.IN_PROCESS_ACCOUNT
    with pytest.raises(KeyRefused, match="no development account 10"):
        networks.development_account(w3, 10)
    with pytest.raises(WrongChain):
        networks.connect(networks.IN_PROCESS, expected=1)


def test_the_address_of_what_is_created() -> None:
    # The first contracts of Anvil's first account, as everyone who used Anvil has seen them.
    sender = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert created_address(sender, 0) == "0x5fbdb2315678afecb367f032d93f642f64180aa3"
    assert created_address(sender, 1) == "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(b"\x05" * 32, "open sesame", kdf="pbkdf2", iterations=10)))
    return path


def test_a_key_file(key_file: Path, tmp_path: Path) -> None:
    assert read_key_file(key_file, "open sesame").key == b"\x05" * 32
    with pytest.raises(KeyRefused, match="not the passphrase"):
        read_key_file(key_file, "hunter2")
    with pytest.raises(KeyRefused, match="cannot be read"):
        read_key_file(tmp_path / "none.json", "x")
    for text in ("", "{}", "[1]", "5", '{"version": 3}', '{"version": 3, "crypto": {}}', '"\\ud800"'):
        key_file.write_text(text)
        with pytest.raises(KeyRefused, match="no keystore file"):
            read_key_file(key_file, "x")


def test_which_key_an_application_uses(key_file: Path) -> None:
    w3 = networks.in_process()
    assert Application(Settings(), w3=w3).account == networks.development_account(w3)
    raw = Application(Settings(private_key=b"\x07" * 32), w3=w3).account
    assert raw.key == b"\x07" * 32
    # The encrypted one comes first.
    both = Settings(key_file=key_file, key_passphrase="open sesame", private_key=b"\x07" * 32)
    assert Application(both, w3=w3).account.key == b"\x05" * 32
    with pytest.raises(KeyRefused, match="needs its passphrase"):
        _ = Application(Settings(key_file=key_file), w3=w3).account
    asked = Application(Settings(key_file=key_file), w3=w3, ask=lambda _: "open sesame")
    assert asked.account.key == b"\x05" * 32


def test_nothing_is_connected_to_before_it_is_asked_for() -> None:
    application = Application(Settings(rpc="http://127.0.0.1:1"))
    assert application.settings.rpc == application.rpc
    with pytest.raises(ChainUnavailable, match=r"no node answers at http://127\.0\.0\.1:1"):
        _ = application.chain_id
