"""A local node, a mail server, and a lender with everything set up, for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

# Before they are imported, so that what they assert is told as in a test.
pytest.register_assert_rewrite("browsing", "stage")

from stage import START, Mailbox, Stage  # noqa: E402

from duly.services import bench  # noqa: E402
from scripts.anvil import anvil as anvil_at  # noqa: E402
from scripts.signer import RemoteKeys, served  # noqa: E402


@pytest.fixture
def anvil() -> Iterator[str]:
    """The address of a fresh Anvil."""
    with anvil_at() as url:
        yield url


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    """A mail server that keeps what it gets."""
    mailbox = Mailbox(tmp_path / "inbox")
    mailbox.open()
    try:
        yield mailbox
    finally:
        mailbox.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[str], str]]:
    """Makes an empty database on PostgreSQL, and tells its address."""
    with bench.postgresql() as server, psycopg.connect(server("postgres"), autocommit=True) as connection:

        def make(name: str) -> str:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
            return server(name)

        yield make


@pytest.fixture
def stage(tmp_path: Path, mailbox: Mailbox) -> Iterator[Stage]:
    """Contracts, a lender and the service's settings, at noon UTC of a working day."""
    with anvil_at(timestamp=START) as url:
        stage = Stage(url, tmp_path, mailbox)
        try:
            yield stage
        finally:
            stage.app.close()


@pytest.fixture
def deployed(tmp_path: Path, mailbox: Mailbox, postgresql: Callable[[str], str]) -> Iterator[Stage]:
    """The same as compose.yaml and the systemd units set it up: database and vault on PostgreSQL, secrets in
    files, a remote signer, the node's websocket.
    """
    with anvil_at(timestamp=START) as url:
        stage = Stage(url, tmp_path, mailbox, postgresql("duly"), postgresql("duly_vault"))
        with served(RemoteKeys(keys=(bytes(stage.servicer.account.key),))) as signer:
            secrets = {
                "RPC": url,
                "RPC_WS": url.replace("http", "ws"),
                "DATABASE": stage.settings.database,
                "VAULT": stage.settings.vault,
                "SIGNER_URL": signer,
            }
            for name, value in secrets.items():
                (tmp_path / name.lower()).write_text(value + "\n")
                stage.more |= {f"DULY_{name}": "", f"DULY_{name}_FILE": str(tmp_path / name.lower())}
            stage.more |= {"DULY_PRIVATE_KEY": "", "DULY_FINALITY": "1", "DULY_FEE_CEILING": "200"}
            try:
                yield stage
            finally:
                stage.app.close()
