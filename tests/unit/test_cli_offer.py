"""`duly offer`, as its users meet it before a chain is asked."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from duly.domain.errors import InvalidInput
from duly.interfaces.cli import _files, app

GIVEN = (
    *("--borrower", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "--principal", "10000", "--rate", "11.22"),
    *("--instalments", "36", "--first-due", "2027-01-31"),
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["offer", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


@pytest.mark.parametrize("name", ["loan", "amendment", "assignment", "show", "sign", "send", "cancel"])
def test_help_teaches(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Example:\n    duly offer {name} " in result.stdout


@pytest.mark.parametrize("name", ["show", "sign", "send", "cancel"])
def test_a_file_that_is_no_offer_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "offer.json"
    assert "cannot be read: No such file" in refused(name, path)
    path.write_text("{")
    assert "offer.json is not JSON" in refused(name, path)
    path.write_text('{"format": "duly-offer", "version": 7}')
    assert "version '7', which this program does not know" in refused(name, path)
    assert path.read_text() == '{"format": "duly-offer", "version": 7}'


def test_nothing_is_overwritten_silently(tmp_path: Path) -> None:
    there, beside = tmp_path / "offer.json", tmp_path / "offer.html"
    there.write_text("mine")
    assert f"{there} exists" in refused("loan", *GIVEN, "-o", there)
    assert f"{there} exists" in refused("loan", "--terms", there, "-o", there)
    assert f"{there} exists" in refused("amendment", "0x12", "-o", there)
    assert f"{there} exists" in refused("assignment", "0x12", "--to", GIVEN[1], "-o", there)
    assert f"{there} exists" in refused("sign", there, "-o", there)
    assert "two files have the same name" in refused("loan", *GIVEN, "-o", beside)
    beside.write_text("mine")
    assert f"{beside} exists" in refused("loan", *GIVEN, "-o", tmp_path / "offer.txt")
    assert there.read_text() == beside.read_text() == "mine"


def test_terms_are_given_once(tmp_path: Path) -> None:
    told = refused("loan", "--terms", tmp_path / "terms.json", "--rate", "3", "-o", tmp_path / "offer.json")
    assert "both --terms and --rate are given" in told


def test_what_is_no_signature_is_told(tmp_path: Path) -> None:
    assert "'0x1' is no signature" in refused("sign", tmp_path / "offer.json", "--signature", "0x1")
    assert "to send" not in refused("assignment", "0x12", "--to", "nobody", "-o", tmp_path / "offer.json")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "offer.json"
    _files.write(path, b"first")
    path.chmod(0o600)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(_files.NotWritten, match="No space left on device"):
            _files.write(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.json"
    link.symlink_to(path)
    _files.write(link, b"third")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"third", 0o600)
    assert link.is_symlink()
    with pytest.raises(_files.NotWritten, match="cannot be written"):
        _files.write(tmp_path / "nowhere" / "offer.json", b"")
    with pytest.raises(InvalidInput, match="exists"):
        _files.check_free({"offer": path}, force=False)
