"""A local node, a mail server, and a lender with everything set up, for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import START, Mailbox, Stage

from scripts.anvil import anvil as anvil_at


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


@pytest.fixture
def stage(tmp_path: Path, mailbox: Mailbox) -> Iterator[Stage]:
    """Contracts, a lender and the service's settings, at noon UTC of a working day."""
    with anvil_at(timestamp=START) as url:
        stage = Stage(url, tmp_path, mailbox)
        try:
            yield stage
        finally:
            stage.app.close()
