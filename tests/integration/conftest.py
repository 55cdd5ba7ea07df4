"""Chains to test against: one inside this process, and real nodes. Databases: PostgreSQL."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

from duly.bootstrap import Application
from duly.chain import compiler, networks
from duly.config import Settings
from duly.services import deploy
from duly.services.bench import postgresql
from duly.services.policy import load_pack
from duly.services.render import templates_hash
from duly.store.database import open_engine
from duly.store.migrations import SERVICE, VAULT
from scripts.anvil import free_port, wait_for_port

# A slow machine is no failure.
hypothesis.settings.register_profile("integration", deadline=None)
hypothesis.settings.load_profile("integration")

# What is tested on SQLite there is tested on PostgreSQL here.
sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
pytest.register_assert_rewrite(
    *("test_cli_database", "test_cli_vault", "test_inbox", "test_migrations", "test_notice_store"),
    *("test_readmodel", "test_vault", "test_vault_log", "test_vault_rotation"),
    *("test_web", "test_web_api", "test_web_contact", "test_web_desk", "test_web_help", "test_web_papers"),
    "test_web_tokens",
)

ANVIL = Path(__file__).resolve().parents[2] / "build/bin/anvil"


class Node:
    """An Anvil process on a port of its own; stopped and started anew, its chain is empty."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> "Node":
        command = [ANVIL, "--quiet", "--port", str(self.port), "--hardfork", compiler.EVM_VERSION]
        self._process = subprocess.Popen([*command, *self._options, *more], stdin=subprocess.DEVNULL)
        wait_for_port(self.port, self._process, "Anvil")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None


@pytest.fixture
def start_node() -> Iterator[Callable[..., Node]]:
    """Start Anvil, with these options."""
    nodes: list[Node] = []

    def start(*options: str) -> Node:
        node = Node(*options)
        nodes.append(node)
        return node.start()

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def node(start_node: Callable[..., Node]) -> Node:
    """A fresh Anvil."""
    return start_node()


def strict() -> deploy.Wish:
    """What `duly deploy` deploys when nothing else is said."""
    return deploy.Wish(load_pack("STRICT"), templates_hash())


def embedded(wish: deploy.Wish | None = None) -> Application:
    """An application on a chain in this process, the contracts deployed on it."""
    application = Application(Settings(), rpc="tester:")
    application.deployment = deploy.deploy(application.sender, wish or strict(), None).deployment
    return application


@pytest.fixture(scope="module")
def application() -> Application:
    """One for all tests of a module."""
    return embedded()


def transactions(application: Application) -> int:
    """How many transactions the deployer has sent, ever."""
    return application.w3.eth.get_transaction_count(application.account.address)


def live(node: Node, folder: Path) -> Application:
    """An application on a chain that is not local, with a keystore file."""
    from eth_account import Account

    rich = networks._DEVELOPMENT_PHRASE
    Account.enable_unaudited_hdwallet_features()
    key = Account.from_mnemonic(rich).key
    file = folder / "key.json"
    file.write_text(json.dumps(Account.encrypt(key, "open sesame", kdf="pbkdf2", iterations=10)))
    return Application(
        Settings(key_file=file, key_passphrase="open sesame", deployments=folder / "d"), rpc=node.url
    )


@pytest.fixture(scope="session")
def create() -> Iterator[Callable[[str], str]]:
    """Makes a database on PostgreSQL after another one, and tells its address."""
    numbers = itertools.count(1)
    with postgresql() as server, psycopg.connect(server("postgres"), autocommit=True) as connection:
        # Processes are killed in these tests, machines are not.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        for name, schema in (("made", SERVICE), ("made_vault", VAULT)):
            connection.execute(f"CREATE DATABASE {name}")
            engine = open_engine(server(name))
            schema.prepare(engine)
            engine.dispose()

        def create(after: str) -> str:
            name = f"test_{next(numbers)}"
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {after}")
            return server(name)

        yield create


@pytest.fixture(scope="session")
def fresh(create: Callable[[str], str]) -> Callable[[], str]:
    """Addresses of databases, each time of another in which there is nothing but the service's tables."""
    return lambda: create("made")


@pytest.fixture
def url(fresh: Callable[[], str]) -> str:
    """The address of such a database."""
    return fresh()


@pytest.fixture
def vault_url(create: Callable[[str], str]) -> str:
    """The address of a database with the contact vault's tables, and nothing in them."""
    return create("made_vault")


@pytest.fixture
def empty(create: Callable[[str], str]) -> str:
    """The address of a database in which there is nothing at all."""
    return create("template0")


@pytest.fixture
def empty_too(create: Callable[[str], str]) -> str:
    """Another one."""
    return create("template0")
