"""`duly policy`, as far as it needs no chain."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from duly.interfaces.cli import app
from duly.services.policy import load_pack, pack_names, parse_pack

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
OWN = 'name = "OWN"\nextends = "GR"\ntitle = "Ours"\nas_of = 2026-11-23\n'
CLOSES = '[contact.closes]\nvalue = 18:00:00\nsource = "Us"\nstatus = "chosen"\nas_of = 2026-11-23\n'


def run(*arguments: str, width: int = 100) -> Result:
    return CliRunner().invoke(app, ["policy", *arguments], env={"COLUMNS": str(width)})


def rows(result: Result) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("command", ["list", "show", "diff", "publish", "verify"])
def test_help_teaches(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example:\n    duly policy {command}" in result.stdout


def test_list_counts_how_values_are_known():
    result = run("list", width=140)
    assert result.exit_code == 0
    found = {row[0].split()[0]: row for row in rows(result) if row[0].split()[:1]}
    assert set(pack_names()) <= set(found)
    assert found["GR"][1:4] == ["Greece", "EU", "2026-11-23"]
    assert found["EU"][-1] == "21"
    assert "never legal advice" in result.stdout


def test_list_in_json():
    told = {pack["name"]: pack for pack in json.loads(run("list", "--json").stdout)}
    assert list(told) == pack_names()
    assert told["CN"]["statuses"] == {"verified": 1, "secondary": 12, "unverified": 2, "chosen": 22}
    assert told["GR"]["extends"] == "EU"
    assert told["GR"]["hash"] == "0x" + load_pack("GR").pack_hash.hex()


@pytest.mark.parametrize("name", pack_names())
def test_show_has_every_value(name):
    found = rows(run("show", name.lower()))
    entries = load_pack(name).entries()
    for path, entry in entries.items():
        row = [path.split(".")[-1], entry.text, entry.found.status, entry.found.as_of.isoformat()]
        assert row in found or len(entry.text) > 24, path
    told = json.loads(run("show", name, "--json").stdout)
    assert list(told["values"]) == list(entries)


def test_show_with_sources():
    narrow, wide, long = run("show", "gr"), run("show", "gr", width=200), run("show", "gr", "--sources")
    assert "Law 3758/2009" not in narrow.stdout
    assert "GR: Greece, laid over EU." in narrow.stdout
    assert "Law 3758/2009: one contact in two days" in wide.stdout
    assert "contact.gap  48 h\n  secondary, as of 2026-11-23: Law 3758/2009: one contact" in long.stdout
    assert all(entry.found.source in long.stdout for entry in load_pack("GR").entries().values())


def test_a_file_of_ones_own_wherever_a_name_is(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN + CLOSES, encoding="utf-8")
    assert "OWN: Ours, laid over GR." in run("show", str(path)).stdout
    result = run("diff", "gr", str(path))
    assert ["contact.closes", "19:00", "18:00", "OWN"] in rows(result)
    assert "1 values differ" not in result.stdout
    assert "One value differs: OWN is tighter." in result.stdout


def test_diff_tells_which_is_tighter():
    result = run("diff", "strict", "us")
    assert ["contact.opens", "09:00", "08:00", "STRICT"] in rows(result)
    assert ["retention.records_years", "none", "3 years", "US"] in rows(result)
    assert "STRICT is tighter in 3, US in 8." in result.stdout
    told = json.loads(run("diff", "strict", "us", "--json").stdout)
    assert (told["a"]["name"], told["b"]["name"]) == ("STRICT", "US")
    opens = {"value": "contact.opens", "a": "09:00:00", "b": "08:00:00", "tighter": "a"}
    assert opens in told["differences"]


def test_diff_of_the_same(tmp_path):
    assert "They are the same." in run("diff", "gr", "GR").stdout
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    assert "Their values are the same; names, sources or dates differ." in run("diff", "gr", str(path)).stdout
    path.write_text((OWN + CLOSES).replace('"OWN"', '"GR"'), encoding="utf-8")
    assert ["contact.closes", "19:00", "18:00", "GR (B)"] in rows(run("diff", "gr", str(path)))


def test_diff_of_what_cannot_be_compared(tmp_path):
    for name, day in (("a", "Monday"), ("b", "Friday")):
        text = OWN.replace('extends = "GR"\n', "") + CLOSES.replace("18:00:00", f'["{day}"]')
        (tmp_path / f"{name}.toml").write_text(text.replace("closes", "weekdays"), encoding="utf-8")
    result = run("diff", str(tmp_path / "a.toml"), str(tmp_path / "b.toml"))
    assert ["contact.weekdays", "Monday", "Friday", "neither"] in rows(result)
    assert "One value differs: neither is tighter." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nowhere"], "there is no policy pack 'nowhere'"),
        (["show", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["diff", "gr", "nowhere"], "there is no policy pack 'nowhere'"),
        (["publish", "nowhere"], "there is no policy pack 'nowhere'"),
        (["verify", "--pack", "nowhere"], "there is no policy pack 'nowhere'"),
    ],
)
def test_what_is_not_there_is_told(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_pack_that_is_too_loose_is_told(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN + CLOSES.replace("18:00", "20:00"), encoding="utf-8")
    result = run("show", str(path))
    assert result.exit_code == 2
    assert "own.toml: contact.closes is 20:00, not tighter than 19:00 of GR" in result.stderr
    assert "Wanted: an overlay only tightens" in result.stderr


def test_the_example_of_the_documentation_is_a_pack():
    examples = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (text for text in examples if text.startswith("name"))
    pack = parse_pack(example)
    assert (pack.name, pack.extends, pack.lending_limits.apr_cap) == ("CN-PRIVATE", "CN", 120_000)
