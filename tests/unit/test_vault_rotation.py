"""Rotating the master key while others read and write, and keys from a keyring."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from types import SimpleNamespace

import pytest

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
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'vault.db'}"


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


def test_nothing_stays_under_the_old_key(vault, tmp_path):
    old_index = module._person(OLD.derive(b"person"), EMAIL, "b1@example.org")
    assert old_index in (tmp_path / "vault.db").read_bytes()
    wrapped = [row[0] for row in _rows(tmp_path, "SELECT wrapped_key FROM keys")]
    vault.rotate(NEW)
    data = (tmp_path / "vault.db").read_bytes()
    assert old_index not in data
    assert not any(each in data for each in wrapped)
    assert {row[0] for row in _rows(tmp_path, "SELECT generation FROM keys")} == {2}


def _rows(tmp_path, query):
    with sqlite3.connect(tmp_path / "vault.db") as database:
        return database.execute(query).fetchall()


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


def test_a_rotation_can_be_given_up(vault, url, tmp_path):
    vault.prepare_rotation(NEW)
    with Vault.open(url, NEW) as newer, pytest.raises(VaultError, match="old key"):
        newer.abandon_rotation()
    vault.abandon_rotation()
    with pytest.raises(WrongMasterKey):
        Vault.open(url, NEW)
    with pytest.raises(VaultError, match="no rotation"):
        vault.abandon_rotation()
    assert {row[0] for row in _rows(tmp_path, "SELECT generation FROM keys")} == {1}
    vault.rotate(THIRD)
    assert address(vault, 7) == "b7@example.org"


def _rotate(url: str, pause: float, finish: bool) -> None:
    module._BATCH = 1
    rewrap = Vault._rewrap

    def slowly(self, session, fresh, most):
        time.sleep(pause)
        return rewrap(self, session, fresh, most)

    Vault._rewrap = slowly
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
            count.value += 1


def test_a_killed_rotation_is_taken_up_again_while_others_read(vault, url):
    context = multiprocessing.get_context("fork")
    vault.close()
    stop, failures = context.Event(), context.Queue()
    counts = [context.Value("i", 0) for _ in range(2)]
    older = context.Process(target=_read, args=(url, OLD, stop, failures, counts[0]))
    older.start()

    def rotate(kill_after: float | None, finish: bool = False) -> None:
        process = context.Process(target=_rotate, args=(url, 0.01, finish))
        process.start()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        assert kill_after is not None or process.exitcode == 0

    for _ in range(3):
        rotate(0.5)
    rotate(None)
    # The services are started again with the new key, one after the other: both read.
    newer = context.Process(target=_read, args=(url, NEW, stop, failures, counts[1]))
    newer.start()
    while min(count.value for count in counts) < 5:
        assert failures.empty(), failures.get()
        time.sleep(0.05)
    # From here on the old key is not used any more; the reader with the new one notices nothing.
    os.kill(older.pid, signal.SIGKILL)
    older.join(10)
    rotate(0.4, finish=True)
    rotate(None, finish=True)
    before = counts[1].value
    while counts[1].value < before + 5:
        assert failures.empty(), failures.get()
        time.sleep(0.05)
    stop.set()
    newer.join(20)
    assert failures.empty()
    with pytest.raises(WrongMasterKey):
        Vault.open(url, OLD)
    with Vault.open(url, NEW) as rotated:
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
