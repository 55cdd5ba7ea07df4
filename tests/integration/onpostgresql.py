"""Puts the portal of the unit tests on PostgreSQL: `from onpostgresql import *` before the tests."""

from collections.abc import Callable, Iterator

import portal
import pytest

__all__ = ["closed", "on_postgresql"]


@pytest.fixture(scope="module", autouse=True)
def on_postgresql(fresh: Callable[[], str]) -> Iterator[None]:
    """Each portal has a database of its own there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portal, "new_database", fresh)
        yield


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """A server has only so many connections."""
    before = set(portal.opened)
    yield
    for scene in set(portal.opened) - before:
        scene.app.close()
