"""Packs: what they turn into, what they refuse, and that every value tells where it comes from."""

from dataclasses import replace
from importlib.resources import files

import pytest

from duly.domain.policy import (
    AprConvention,
    ContactLimits,
    InvalidPolicy,
    LendingLimits,
    PolicyPack,
    check_bounds,
)
from duly.services.policy import InvalidPack, load_pack, pack_names, parse_pack, read_pack

TEXT = (files("duly") / "policies" / "strict.toml").read_text(encoding="utf-8")


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def test_the_strict_pack_is_what_it_promises():
    pack = load_pack("strict")
    assert pack.contact_limits == ContactLimits(
        opens=9 * 60,
        closes=19 * 60,
        lead=900,
        weekdays=0b0011111,
        per_day=1,
        per_week=2,
        gap=48 * 3600,
        upcoming_days=7,
        overdue_days=11,
        pause_days=30,
    )
    assert pack.lending_limits == LendingLimits(
        apr_cap=360_000,
        apr_convention=AprConvention.NOMINAL,
        late_fee_cap=500,
        min_grace_days=5,
        cooling_off_days=14,
        default_days=90,
    )


@pytest.mark.parametrize("name", pack_names())
def test_every_value_tells_its_source_how_it_is_known_and_as_of_when(name):
    pack = load_pack(name)
    assert pack.name == name
    for part in (pack.lending, pack.contact):
        for field in type(part).model_fields:
            value = getattr(part, field)
            assert value.source.strip(), field
            assert value.status in ("primary", "secondary", "unverified", "chosen")
            assert value.as_of <= pack.as_of


def test_an_unknown_name_is_told_with_the_names_there_are():
    with pytest.raises(InvalidPack, match=r"'NOWHERE'.*STRICT"):
        load_pack("NOWHERE")


def test_a_pack_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(changed('"STRICT"', '"OWN"'), encoding="utf-8")
    assert read_pack(path).name == "OWN"
    with pytest.raises(InvalidPack, match="cannot be read"):
        read_pack(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[contact.gap]", "[contact.gaps]", r"contact\.gap: Field required; contact\.gaps: Extra inputs"),
        ("value = 900", 'value = "900"', r"contact\.lead\.value: Input should be a valid integer"),
        ("value = 09:00:00", "value = 06:59:00", "opens is 419 .wanted: opens from 420 to 1140"),
        ("value = 19:00:00", "value = 11:59:00", "closes is 719 .wanted: closes from 720 to 1320"),
        ("value = 19:00:00", "value = 22:01:00", "closes is 1321"),
        ("value = 09:00:00", "value = 09:00:30", "whole minutes"),
        ("value = 900", "value = 1801", "lead is 1801 .wanted: lead from 0 to 1800"),
        ('["Monday", ', '["Mon", ', r"contact\.weekdays\.value\.0"),
        ('["Monday", ', '["Friday", ', "named twice"),
        ("value = 172_800", "value = 2_678_401", "gap is 2678401"),
        ("value = 11\n", "value = 0\n", "overdue_days is 0 .wanted: overdue_days from 1 to 255"),
        ("value = 360_000", "value = -1", r"lending\.apr_cap\.value"),
        ('value = "nominal"', 'value = "flat"', r"lending\.apr_convention\.value"),
        ('status = "chosen"', 'status = "sure"', r"status: Input should be 'primary'"),
        ("as_of = 2026", "as_of = 26", "not TOML"),
    ],
)
def test_what_is_wrong_with_a_pack_is_told(old, new, told):
    with pytest.raises(InvalidPack, match=told):
        parse_pack(changed(old, new))


@pytest.mark.parametrize(
    "changes",
    [
        {"opens": 419},
        {"opens": 1141, "closes": 1320},
        {"closes": 540 + 179},
        {"closes": 1321},
        {"lead": 1801},
        {"weekdays": 0},
        {"weekdays": 128},
        {"per_week": 0, "per_day": 0},
        {"per_week": 8},
        {"per_day": 0},
        {"per_day": 3},
        {"gap": 31 * 86_400 + 1},
        {"upcoming_days": 32},
        {"overdue_days": 0},
    ],
)
def test_no_limits_are_loaded_that_no_policy_book_would_publish(changes):
    with pytest.raises(InvalidPolicy, match="|".join(changes)):
        check_bounds(replace(load_pack().contact_limits, **changes))


def test_the_hash_covers_every_value_source_and_date_but_no_comment():
    pack_hash = load_pack().pack_hash
    assert len(pack_hash) == 32
    assert parse_pack("# another comment\n" + TEXT).pack_hash == pack_hash
    for old, new in (
        ("value = 900", "value = 901"),
        ("Own choice", "Our choice"),
        ("as_of = 2026-11-23", "as_of = 2026-11-24"),
        ('"chosen"', '"unverified"'),
    ):
        assert parse_pack(changed(old, new)).pack_hash != pack_hash


def test_a_pack_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        load_pack().contact.gap.value = 0  # type: ignore[misc]
    assert PolicyPack.model_config["extra"] == "forbid"
