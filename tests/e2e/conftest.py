"""A local node, a mail server, and a lender with everything set up, for the end-to-end tests."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import START, Mailbox, Stage

from duly.chain import compiler
from scripts.anvil import anvil as anvil_at

ANVIL = Path(__file__).resolve().parents[2] / "build/bin/anvil"


@pytest.fixture
def anvil() -> Iterator[str]:
    """The address of a fresh Anvil, with the rules that the contracts are compiled for."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [ANVIL, "--quiet", "--port", str(port), "--hardfork", compiler.EVM_VERSION]
    node = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        node.terminate()
        node.wait(timeout=10)


def wait_for(port: int, seconds: float = 10) -> None:
    """Wait until something listens there."""
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    """A mail server that keeps what it gets."""
    mailbox = Mailbox(tmp_path / "inbox")
    mailbox.open()
    try:
        yield mailbox
    finally:
        mailbox.close()


@pytest.fixture
def stage(tmp_path: Path, mailbox: Mailbox) -> Iterator[Stage]:
    """Contracts, a lender and the service's settings, at noon UTC of a working day."""
    with anvil_at(timestamp=START) as url:
        stage = Stage(url, tmp_path, mailbox)
        try:
            yield stage
        finally:
            stage.app.close()
