"""Rotating the master key while others read and write, and keys from a keyring."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from types import SimpleNamespace

import pytest
from databases import execute, stored

from duly.bootstrap import Application
from duly.config import Settings
from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.store import vault as module
from duly.store.vault import (
    InvalidMasterKey,
    MasterKey,
    NoMasterKey,
    Reading,
    Vault,
    VaultError,
    WrongMasterKey,
)

OLD, NEW, THIRD = (MasterKey.from_text(f"{number:02x}" * 32) for number in (1, 2, 3))
EMAIL = Channel.EMAIL


def borrower(number: int) -> str:
    return f"0x{number:040x}"


@pytest.fixture
def url(vault_url) -> str:
    return vault_url


@pytest.fixture
def vault(url):
    with Vault.open(url, OLD) as vault:
        vault.add_all((borrower(number), EMAIL, f"b{number}@example.org") for number in range(1, 51))
        yield vault


def address(vault: Vault, number: int) -> str:
    return vault.contact(borrower(number), EMAIL, Reading("test")).address


def test_either_key_opens_the_vault_until_the_end(vault, url):
    person, salt = vault.person_of(borrower(1)), vault.salt_for(borrower(1), b"x")
    assert vault.prepare_rotation(NEW) == 50
    with Vault.open(url, NEW) as newer, Vault.open(url, OLD) as older:
        for each in (vault, newer, older):
            assert address(each, 7) == "b7@example.org"
            assert (each.person_of(borrower(1)), each.salt_for(borrower(1), b"x")) == (person, salt)
        # What is written meanwhile, with either key, can be read with either, and afterwards too.
        older.add(borrower(51), EMAIL, "b51@example.org")
        newer.add(borrower(52), EMAIL, "b52@example.org")
        older.add(borrower(2), EMAIL, "new@example.org")
        newer.erase(borrower(3))
        code = older.new_code(borrower(7), EMAIL).code
        newer.check_code(borrower(7), EMAIL, code)
        assert newer.finish_rotation() == 51
        with pytest.raises(WrongMasterKey):
            address(older, 7)
        for each in (newer, Vault.open(url, NEW)):
            assert [address(each, number) for number in (2, 51, 52)] == [
                *("new@example.org", "b51@example.org", "b52@example.org")
            ]
            assert each.kept(borrower(7), EMAIL).verified
            assert each.borrowers_at(EMAIL, "b52@example.org") == [borrower(52)]
            assert each.salt_for(borrower(1), b"x") == salt


def test_nothing_stays_under_the_old_key(vault, url):
    old_index = module._person(OLD.derive(b"person"), EMAIL, "b1@example.org")
    wrapped = [value for (value,) in execute(url, "SELECT wrapped_key FROM keys")]
    vault.prepare_rotation(NEW)
    ((bridge,),) = execute(url, "SELECT bridge FROM vault")
    before = stored(url)
    assert all(each in before for each in (old_index, bridge, *wrapped))
    vault.finish_rotation(NEW)
    after = stored(url)
    assert not any(each in after for each in (old_index, bridge, *wrapped))
    assert execute(url, "SELECT DISTINCT generation FROM keys") == [(2,)]


def test_another_rotation_waits(vault):
    vault.prepare_rotation(NEW)
    with pytest.raises(VaultError, match="another key has begun"):
        vault.prepare_rotation(THIRD)
    with pytest.raises(WrongMasterKey):
        vault.finish_rotation(THIRD)
    with pytest.raises(WrongMasterKey):
        vault.finish_rotation()
    vault.rotate(NEW)
    with pytest.raises(InvalidMasterKey, match="already"):
        vault.rotate(NEW)


def test_a_rotation_can_be_given_up(vault, url):
    vault.prepare_rotation(NEW)
    with Vault.open(url, NEW) as newer, pytest.raises(VaultError, match="old key"):
        newer.abandon_rotation()
    vault.abandon_rotation()
    with pytest.raises(WrongMasterKey):
        Vault.open(url, NEW)
    with pytest.raises(VaultError, match="no rotation"):
        vault.abandon_rotation()
    assert execute(url, "SELECT DISTINCT generation FROM keys") == [(1,)]
    vault.rotate(THIRD)
    assert address(vault, 7) == "b7@example.org"


def _rotate(url: str, steps: int | None, reached, finish: bool) -> None:
    """Rotate, one borrower at a time; after so many steps tell so, and wait to be killed."""
    module._BATCH = 1
    writing, left = Vault._writing, steps

    @contextlib.contextmanager
    def counted(self):
        nonlocal left
        with writing(self) as session:
            yield session
            if left == 0:
                # In the midst of a transaction, which is never committed.
                reached.set()
                signal.pause()
        left = None if left is None else left - 1

    Vault._writing = counted
    try:
        vault = Vault.open(url, OLD)
    except WrongMasterKey:
        vault = Vault.open(url, NEW)
        vault.finish_rotation()
        return
    vault.prepare_rotation(NEW)
    if finish:
        vault.finish_rotation(NEW)


def _read(url: str, key: MasterKey, stop, failures, count) -> None:
    number = 0
    with Vault.open(url, key) as vault:
        while not stop.is_set():
            number = number % 50 + 1
            try:
                assert address(vault, number) == f"b{number}@example.org"
                assert vault.person_of(borrower(number))
            except Exception as error:
                failures.put(repr(error))
                return
            with count:
                count.notify_all()


def test_a_killed_rotation_is_taken_up_again_while_others_read(vault, url):
    context = multiprocessing.get_context("fork")
    vault.close()
    stop, failures = context.Event(), context.Queue()

    def reads(count) -> None:
        """Wait until somebody has read so often again."""
        for _ in range(5):
            with count:
                assert count.wait(60), failures.get_nowait()

    def rotate(kill_after: int | None, finish: bool = False) -> None:
        reached = context.Event()
        process = context.Process(target=_rotate, args=(url, kill_after, reached, finish))
        process.start()
        if kill_after is not None:
            assert reached.wait(60)
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        assert process.exitcode == (0 if kill_after is None else -signal.SIGKILL)

    counts = [context.Condition() for _ in range(2)]
    older = context.Process(target=_read, args=(url, OLD, stop, failures, counts[0]))
    older.start()
    for steps in (0, 7, 40):
        rotate(steps)
    rotate(None)
    # The services are started again with the new key, one after the other: both read.
    newer = context.Process(target=_read, args=(url, NEW, stop, failures, counts[1]))
    newer.start()
    for count in counts:
        reads(count)
    # From here on the old key is not used any more; the reader with the new one notices nothing.
    older.kill()
    older.join(10)
    # Two steps find out that it is prepared; the others delete what the old key wrapped.
    rotate(5, finish=True)
    with pytest.raises(WrongMasterKey):
        Vault.open(url, OLD)
    rotate(None, finish=True)
    reads(counts[1])
    stop.set()
    newer.join(20)
    assert failures.empty()
    with Vault.open(url, NEW) as rotated:
        assert execute(url, "SELECT DISTINCT generation FROM keys") == [(2,)]
        assert [address(rotated, number) for number in range(1, 51)] == [
            f"b{number}@example.org" for number in range(1, 51)
        ]
        assert rotated.log()


# ---------------------------------------------------------------------------------------------- keyring


class Ring(dict):
    def get_password(self, service, name):
        return self.get((service, name))

    def set_password(self, service, name, text):
        self[service, name] = text


@pytest.fixture
def ring(monkeypatch) -> Ring:
    ring = Ring()
    module_ = SimpleNamespace(get_password=ring.get_password, set_password=ring.set_password)
    monkeypatch.setitem(sys.modules, "keyring", module_)
    return ring


def test_a_key_in_the_keyring(ring, tmp_path):
    key = MasterKey.generate()
    key.create_in_keyring("duly/vault")
    assert list(ring) == [("duly", "vault")]
    environment = {"DULY_MASTER_KEY_KEYRING": "duly/vault", "DULY_VAULT": f"sqlite:///{tmp_path / 'v.db'}"}
    app = Application(Settings.from_environment(environment))
    app.vault.add(borrower(1), EMAIL, "b1@example.org")
    app.close()
    assert MasterKey.from_keyring("duly/vault").derive(b"x") == key.derive(b"x")
    with pytest.raises(VaultError, match="already"):
        key.create_in_keyring("duly/vault")
    with pytest.raises(NoMasterKey, match="holds no password"):
        MasterKey.from_keyring("duly/other")
    ring["duly", "bad"] = "sesame"
    with pytest.raises(InvalidMasterKey) as caught:
        MasterKey.from_keyring("duly/bad")
    assert "sesame" not in str(caught.value)
    with pytest.raises(InvalidInput):
        MasterKey.from_keyring("vault")


def test_a_keyring_that_fails_tells_nothing_of_what_it_holds(ring, monkeypatch):
    def fail(*_):
        raise RuntimeError("sesame")

    monkeypatch.setattr(sys.modules["keyring"], "get_password", fail)
    with pytest.raises(NoMasterKey, match="RuntimeError") as caught:
        MasterKey.from_keyring("duly/vault")
    assert "sesame" not in str(caught.value)
    with pytest.raises(VaultError, match="RuntimeError"):
        MasterKey.generate().create_in_keyring("duly/vault")


def test_without_the_package_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(VaultError, match="not installed"):
        MasterKey.from_keyring("duly/vault")


@pytest.mark.parametrize(
    "environment",
    [
        {"DULY_MASTER_KEY_KEYRING": "vault"},
        {"DULY_MASTER_KEY_KEYRING": "a/b", "DULY_MASTER_KEY": "00" * 32},
        {"DULY_MASTER_KEY_KEYRING": "a/b", "DULY_MASTER_KEY_FILE": "key"},
    ],
)
def test_settings_that_cannot_be_right(environment):
    with pytest.raises(InvalidInput, match="DULY_MASTER_KEY_KEYRING"):
        Settings.from_environment(environment)
