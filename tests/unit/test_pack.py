"""Packs: what they turn into, what they refuse, what is tighter, and that every value tells where it comes
from.
"""

import inspect
from datetime import date, time
from importlib.resources import files
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from duly.domain import pack as packs
from duly.domain.pack import (
    ON_CHAIN,
    ORIGINS,
    THE_SAME,
    Comparison,
    Money,
    PackContact,
    PackLending,
    PolicyPack,
    Value,
    differences,
    limit_values,
    text_of,
    tightness_of,
)
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.services.policy import InvalidPack, find_pack, load_pack, pack_names, parse_pack, read_pack

TEXT = (files("duly") / "policies" / "strict.toml").read_text(encoding="utf-8")
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def value(path: str, given: object, status: str = "secondary") -> str:
    """A value as a file has it."""
    return f'[{path}]\nvalue = {toml(given)}\nsource = "A law"\nstatus = "{status}"\nas_of = 2026-11-23\n'


def toml(given: object) -> str:
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, str):
        return f'"{given}"'
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(toml, given)) + "]"
    if isinstance(given, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in given.items()) + " }"
    return given.isoformat() if isinstance(given, date | time) else str(given)


def own(*values: str, extends: str | None = None) -> str:
    """A pack of one's own."""
    over = f'extends = "{extends}"\n' if extends else ""
    return f'name = "OWN"\n{over}title = "Ours"\nas_of = 2026-11-23\n' + "".join(values)


# ------------------------------------------------------------------------------------ those that come along


def test_the_packs_that_come_along():
    assert pack_names() == ["CN", "EU", "GB", "GR", "IN", "IN-MFI", "STRICT", "US", "US-MA"]
    bases = {name: load_pack(name).extends for name in pack_names()}
    assert {name: base for name, base in bases.items() if base} == {"GR": "EU", "IN-MFI": "IN", "US-MA": "US"}


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
        rest_all_loans=0b111,
        rest_fees=0b111,
    )
    assert pack.lending_limits == LendingLimits(
        apr_cap=360_000,
        apr_convention=AprConvention.NOMINAL,
        late_fee_cap=500,
        min_grace_days=5,
        cooling_off_days=14,
        default_days=90,
    )
    assert {entry.found.status for entry in pack.entries().values() if entry.on_chain} == {"chosen"}


@pytest.mark.parametrize("name", pack_names())
def test_every_value_tells_its_source_how_it_is_known_and_as_of_when(name):
    pack = load_pack(name)
    assert pack.name == name
    entries = pack.entries()
    assert len(entries) >= 16
    for path, entry in entries.items():
        assert entry.found.source.strip(), path
        assert entry.found.status in ORIGINS
        assert entry.found.as_of <= pack.as_of


@pytest.mark.parametrize("name", pack_names())
def test_what_no_rule_gives_and_the_chain_needs_is_as_in_strict(name):
    strict = load_pack().entries()
    for path, entry in load_pack(name).entries().items():
        if entry.found.status == "chosen" and path.split(".")[0] in ON_CHAIN and name != "STRICT":
            assert entry.found.value == strict[path].found.value
            assert entry.found.source.startswith("As in STRICT, since no rule gives one.")


def test_what_a_grievance_rests_is_as_in_strict_where_no_rule_says():
    us = load_pack("US").contact_limits
    # 15 USC 1692g(b) is about one debt; late fees rest by our own choice.
    assert (us.rest_all_loans, us.rest_fees) == (0b110, 0b111)
    assert load_pack("CN").contact_limits.rest_all_loans == 0b111


def test_no_two_packs_have_the_same_hash():
    assert len({load_pack(name).pack_hash for name in pack_names()}) == len(pack_names())


def test_every_field_says_what_is_tighter():
    models = [item for _, item in inspect.getmembers(packs, inspect.isclass) if issubclass(item, BaseModel)]
    found = 0
    for model in models:
        for field, info in model.model_fields.items():
            kinds = (info.annotation, *get_args(info.annotation))
            if any(inspect.isclass(kind) and issubclass(kind, Value) for kind in kinds):
                found += 1
                assert tightness_of(model, field) is not THE_SAME or field == "country", (model, field)
    assert found >= 45


def test_an_unknown_name_is_told_with_the_names_there_are():
    with pytest.raises(InvalidPack, match=r"'NOWHERE'.*STRICT"):
        load_pack("NOWHERE")


# ------------------------------------------------------------------------------------ packs of one's own


def test_a_pack_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(changed('"STRICT"', '"OWN"'), encoding="utf-8")
    assert read_pack(path).name == find_pack(str(path)).name == "OWN"
    assert find_pack("gr") is find_pack("gr")
    with pytest.raises(InvalidPack, match="cannot be read"):
        read_pack(tmp_path / "none.toml")


def test_a_pack_needs_no_value_at_all():
    pack = parse_pack(own())
    assert pack.contact_limits == load_pack().contact_limits
    assert pack.lending_limits == load_pack().lending_limits
    assert pack.contact.gap.status == "chosen"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[contact.gap]", "[contact.gaps]", r"contact\.gaps: Extra inputs"),
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
        ('status = "chosen"', 'status = "sure"', r"status: Input should be 'verified'"),
        ("as_of = 2026", "as_of = 26", "not TOML"),
        ("[lending]", "lending = 5\n[lendings]", r"lending: Input should be a valid dict"),
        ("[contact.gap]\n", "[contact.gap]\nsince = 5\n", r"contact\.gap\.since: Extra inputs"),
    ],
)
def test_what_is_wrong_with_a_pack_is_told(old, new, told):
    text = changed(old, new)
    if "lendings" in new:
        text = own("lending = 5\n")
    with pytest.raises(InvalidPack, match=told):
        parse_pack(text)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([value("channels.fax.per_day", 1)], r"channels\.fax: Extra inputs"),
        ([value("channels.sms.per_dya", 1)], r"channels\.sms\.per_dya: Extra inputs"),
        ([value("channels.sms.per_day", 0)], r"channels\.sms\.per_day\.value"),
        (["[channels.sms]\n"], r"channels\.sms: there is no rule in it"),
        (["[channels]\n"], r"channels: there is no rule in it"),
        (["[duties]\n"], r"duties: .* at least 1 item"),
        ([value("duties.Late.within_days", 1)], r"duties\.Late"),
        ([value("grievances.dispute.scope", "world")], r"grievances\.dispute\.scope\.value"),
        ([value("holidays.country", "Greece")], r"holidays\.country\.value"),
        ([value("holidays.weekends", 1), value("holidays.country", "GR")], r"holidays\.weekends\.value"),
        (
            [
                value("contact.weekdays", ["Monday", "Sunday"]),
                value("holidays.country", "GR"),
                value("holidays.weekends", True),
            ],
            r"contact\.weekdays has Sunday, but reminders rest on weekends",
        ),
        (
            [value("hours.opens", time(10)), value("hours.closes", time(18))],
            r"contact\.opens is 09:00, outside of hours\.opens, 10:00",
        ),
        (
            [
                value("price.private_lending.multiple", 4),
                value("price.private_lending.reference_rate", 30_000),
                value("price.private_lending.cap", 120_001),
            ],
            r"the cap 12\.0001 % is more than 4 times the reference rate 3 %",
        ),
        (["words = 1\n"], r"words: Input should be a valid dict"),
        (["extends = 5\n"], r"extends: 5 .wanted: a pack's name"),
        (['extends = "NOWHERE"\n'], r"there is no policy pack 'NOWHERE'"),
    ],
)
def test_what_is_wrong_off_chain_is_told(values, told):
    with pytest.raises(InvalidPack, match=told):
        parse_pack(own(*values))


# ------------------------------------------------------------------------------------ what nobody has read

LOOSER = [
    ("lending.apr_cap", 360_001),
    ("lending.late_fee_cap", 501),
    ("lending.min_grace_days", 4),
    ("lending.cooling_off_days", 13),
    ("lending.default_days", 89),
    ("contact.opens", time(8, 59)),
    ("contact.closes", time(19, 1)),
    ("contact.lead", 899),
    ("contact.weekdays", DAYS[:6]),
    ("contact.weekdays", ["Saturday"]),
    ("contact.per_week", 3),
    ("contact.gap", 172_799),
    ("contact.upcoming_days", 8),
    ("contact.overdue_days", 10),
    ("contact.pause_days", 29),
    ("price.private_lending.cap", 360_001),
    ("price.private_lending.cap_then", 360_001),
]


@pytest.mark.parametrize(("path", "given"), LOOSER)
@pytest.mark.parametrize("status", ["unverified", "chosen"])
def test_what_nobody_has_read_is_not_looser_than_strict(path, given, status):
    with pytest.raises(InvalidPack, match=rf"{path} is .*, {status}, and looser than .* of STRICT"):
        parse_pack(own(value(path, given, status)))
    for read in ("verified", "secondary"):
        assert parse_pack(own(value(path, given, read))).entries()[path].found.status == read


def test_days_of_rest_are_measured_by_stricts():
    scope = value("grievances.dispute.scope", "loan")
    with pytest.raises(InvalidPack, match=r"grievances\.dispute\.rest_days is 29 days, chosen.*30 days"):
        parse_pack(own(scope, value("grievances.dispute.rest_days", 29, "chosen")))
    parse_pack(own(scope, value("grievances.dispute.rest_days", 30, "chosen")))


def test_a_per_day_that_nobody_has_read():
    values = [value("contact.per_week", 7), value("contact.per_day", 2, "unverified")]
    with pytest.raises(InvalidPack, match=r"contact\.per_day is 2, unverified"):
        parse_pack(own(*values))


def test_a_convention_that_nobody_has_read_may_be_the_stricter_one():
    pack = parse_pack(own(value("lending.apr_convention", "effective", "chosen")))
    assert pack.lending_limits.apr_convention is AprConvention.EFFECTIVE


# ------------------------------------------------------------------------------------ overlays


def test_an_overlay_replaces_values_and_keeps_the_rest():
    pack = parse_pack(own(value("contact.closes", time(18)), extends="gr"))
    assert (pack.name, pack.extends, pack.title) == ("OWN", "GR", "Ours")
    assert [item.path for item in differences(pack, load_pack("GR"))] == ["contact.closes"]
    assert pack.contact.closes.source == "A law"
    assert pack.contact.gap == load_pack("GR").contact.gap


def test_the_hash_of_an_overlay_covers_what_it_is_laid_over(tmp_path):
    (tmp_path / "base.toml").write_text(own(value("channels.sms.per_day", 2)).replace("OWN", "BASE"))
    (tmp_path / "over.toml").write_text(own(extends="base.toml"))
    first = read_pack(tmp_path / "over.toml")
    (tmp_path / "base.toml").write_text(own(value("channels.sms.per_day", 3)).replace("OWN", "BASE"))
    second = read_pack(tmp_path / "over.toml")
    assert first.extends == second.extends == "BASE"
    assert first.pack_hash != second.pack_hash


def test_overlays_of_overlays_and_none_over_itself(tmp_path):
    (tmp_path / "a.toml").write_text(own(extends="b.toml"))
    (tmp_path / "b.toml").write_text(own(extends="c.toml"))
    (tmp_path / "c.toml").write_text(own(extends="US-MA"))
    assert read_pack(tmp_path / "a.toml").channels == load_pack("US-MA").channels
    (tmp_path / "c.toml").write_text(own(extends="b.toml"))
    with pytest.raises(
        InvalidPack, match=r"b\.toml is laid over itself: b\.toml, over c\.toml, over b\.toml"
    ):
        read_pack(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("base", "path", "given", "told"),
    [
        ("GR", "contact.closes", time(20), r"contact\.closes is 20:00, not tighter than 19:00 of GR"),
        ("CN", "lending.apr_cap", 240_001, r"24\.0001 %, not tighter than 24 % of CN"),
        ("CN", "channels.voice.effective_per_day", 4, "is 4, not tighter than 3 of CN"),
        ("US", "channels.voice.rest_days_after_conversation", 6, "6 days, not tighter than 7 days"),
        ("US", "grievances.representation.scope", "loan", "loan, not tighter than borrower"),
        ("US", "retention.records_years", 2, "2 years, not tighter than 3 years"),
        ("US", "duties.validation_notice.within_days", 6, "6 days, not tighter than 5 days"),
        ("US", "duties.validation_notice.right_days", 29, "29 days, not tighter than 30 days"),
        ("GB", "grievances.hardship.fees_rest", False, "no, not tighter than yes"),
        ("GB", "price.high_cost.default_fee_cap", {"amount": 1_501, "currency": "GBP"}, "15.01 GBP, not"),
        ("GB", "price.high_cost.default_fee_cap", {"amount": 1, "currency": "USD"}, "0.01 USD, not"),
        ("GR", "holidays.country", "CY", "CY, not tighter than GR"),
        ("STRICT", "words.required.sender", ["OVERDUE"], "OVERDUE, not tighter than EVERY of STRICT"),
        ("STRICT", "words.telling", {"en": ["loan*"], "zh": ["贷"]}, "1 in en, 1 in zh, not tighter than"),
        ("EU", "contact.weekdays", ["Monday", "Sunday"], "Monday, Sunday, not tighter than Monday to Friday"),
    ],
)
def test_an_overlay_that_loosens_is_refused(base, path, given, told):
    with pytest.raises(InvalidPack, match=told):
        parse_pack(own(value(path, given, "verified"), extends=base))


def test_an_overlay_tells_an_incomplete_value():
    with pytest.raises(InvalidPack, match=r"contact\.gap\.source: Field required"):
        parse_pack(own("[contact.gap]\nvalue = 200_000\n", extends="EU"))


def test_words_come_on_top_of_stricts_and_are_not_measured_by_them():
    pack = parse_pack(own(value("words.required.sender", ["OVERDUE"], "chosen")))
    assert pack.words.rules.required == {"sender": ["OVERDUE"]}
    over = parse_pack(own(value("words.required.late_fee", ["EVERY"], "chosen"), extends="STRICT"))
    assert differences(pack, parse_pack(own()), load_pack()) == []
    more = parse_pack(own(value("words.telling", {"en": ["hello"]}, "chosen")))
    (found,) = differences(more, pack, load_pack())
    assert (found.path, found.comparison) == ("words.telling", Comparison.TIGHTER)
    assert "hello" in found.first.found.value["en"]
    assert "loan*" in found.first.found.value["en"]
    (found,) = differences(over, load_pack())
    assert (found.path, found.comparison) == ("words.required.late_fee", Comparison.TIGHTER)


# How a policy book tells what loosens: written down once more, from `PolicyBook.tighten`.
NO_LESS = ("opens", "lead", "gap", "overdue_days", "pause_days")
NO_MORE = ("closes", "per_day", "per_week", "upcoming_days")

GIVEN: dict[str, st.SearchStrategy[Any]] = {
    "lending.apr_cap": st.integers(0, 500_000),
    "lending.apr_convention": st.sampled_from(["nominal", "effective"]),
    "lending.late_fee_cap": st.integers(0, 1_000),
    "lending.min_grace_days": st.integers(0, 20),
    "lending.cooling_off_days": st.integers(0, 30),
    "lending.default_days": st.integers(60, 120),
    "contact.opens": st.times(time(7), time(12)).map(lambda at: at.replace(second=0, microsecond=0)),
    "contact.closes": st.times(time(15), time(22)).map(lambda at: at.replace(second=0, microsecond=0)),
    "contact.lead": st.integers(0, 1_800),
    "contact.weekdays": st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    "contact.per_day": st.integers(1, 3),
    "contact.per_week": st.integers(1, 7),
    "contact.gap": st.integers(0, 400_000),
    "contact.upcoming_days": st.integers(0, 14),
    "contact.overdue_days": st.integers(1, 30),
    "contact.pause_days": st.integers(0, 60),
    "channels.voice.per_week": st.integers(1, 9),
    "channels.voice.per_week_per_loan": st.integers(1, 9),
    "channels.voice.effective_per_day": st.integers(1, 5),
    "channels.voice.rest_days_after_conversation": st.integers(0, 9),
    "channels.email.per_day": st.integers(1, 3),
    "grievances.dispute.scope": st.sampled_from(["loan", "borrower"]),
    "grievances.hardship.scope": st.sampled_from(["loan", "borrower"]),
    "grievances.hardship.fees_rest": st.booleans(),
    "grievances.hardship.lasts_days": st.integers(30, 90),
    "retention.records_years": st.integers(0, 9),
    "duties.arrears_notice.within_days": st.integers(1, 30),
    "duties.validation_notice.right_days": st.integers(1, 60),
    "duties.something.since": st.dates(date(2020, 1, 1)),
    "price.private_lending.cap": st.integers(0, 200_000),
    "price.high_cost.total_cost_cap": st.integers(0, 2_000_000),
}


@st.composite
def overlays(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A base and the values that are laid over it; many loosen something, and many do not."""
    base = draw(st.sampled_from(pack_names()))
    known = load_pack(base).entries()
    chosen = draw(st.lists(st.sampled_from(sorted(GIVEN)), max_size=4, unique=True))
    status = st.sampled_from(ORIGINS)
    values = []
    for path in chosen:
        found = known.get(path)
        # The same value now and then: drawn at random it would hardly ever be.
        same = found is not None and draw(st.booleans())
        shown = found.found.value if found and same else draw(GIVEN[path])
        values.append(value(path, shown, draw(status)))
    return base, values


@settings(max_examples=300)
@given(overlays())
def test_no_valid_overlay_is_looser_than_its_base(drawn):
    name, values = drawn
    base = load_pack(name)
    try:
        pack = parse_pack(own(*values, extends=name))
    except InvalidPack:
        return
    contact, under = pack.contact_limits, base.contact_limits
    assert all(getattr(contact, field) >= getattr(under, field) for field in NO_LESS)
    assert all(getattr(contact, field) <= getattr(under, field) for field in NO_MORE)
    assert contact.weekdays & ~under.weekdays == 0
    lending, below = pack.lending_limits, base.lending_limits
    for periods in (4, 12, 52):
        assert lending.apr_cap_of_period(periods) <= below.apr_cap_of_period(periods)
    assert lending.late_fee_cap <= below.late_fee_cap
    assert lending.min_grace_days >= below.min_grace_days
    assert lending.cooling_off_days >= below.cooling_off_days
    assert lending.default_days >= below.default_days
    ours, theirs = pack.entries(), base.entries()
    assert theirs.keys() <= ours.keys()
    for path, entry in theirs.items():
        mine, its = ours[path].found.value, entry.found.value
        if path.split(".")[0] in (*ON_CHAIN, "words") or mine == its:
            continue
        last = path.split(".")[-1]
        helps_more = ("rest_days_after_conversation", "lasts_days", "right_days", "records_years")
        if last in helps_more:
            assert mine > its
        elif last == "scope":
            assert (mine, its) == ("borrower", "loan")
        elif isinstance(its, bool):
            assert mine
        else:
            assert mine < its


@given(st.sampled_from(sorted(GIVEN)), st.data())
def test_comparing_is_the_same_from_either_side(path, data):
    section = {"lending": PackLending, "contact": PackContact}.get(path.split(".")[0])
    if section is None:
        return
    tightness = tightness_of(section, path.split(".")[1])
    one, other = data.draw(GIVEN[path]), data.draw(GIVEN[path])
    turned = {Comparison.TIGHTER: Comparison.LOOSER, Comparison.LOOSER: Comparison.TIGHTER}
    forth, back = tightness.compare(one, other), tightness.compare(other, one)
    if path != "contact.weekdays" or set(one) != set(other):
        assert back is turned.get(forth, forth)


# ------------------------------------------------------------------------------- comparing, printing, hashing


def test_differences_tell_which_is_tighter():
    found = {item.path: item for item in differences(load_pack("GR"), load_pack("US"))}
    assert "contact.gap" not in found
    assert found["contact.opens"].comparison is Comparison.TIGHTER
    assert found["holidays.weekends"].comparison is Comparison.TIGHTER
    assert found["holidays.weekends"].second is None
    assert found["retention.records_years"].comparison is Comparison.LOOSER
    assert differences(load_pack("GR"), load_pack("GR")) == []


def test_what_cannot_be_compared_is_neither():
    first = parse_pack(own(value("contact.weekdays", ["Monday", "Sunday"])))
    (found,) = differences(first, parse_pack(own(value("contact.weekdays", ["Monday", "Friday"]))))
    assert found.comparison is Comparison.NEITHER


@pytest.mark.parametrize("name", pack_names())
def test_limits_are_written_as_the_pack_writes_them(name):
    pack = load_pack(name)
    found = limit_values(pack.lending_limits) | limit_values(pack.contact_limits)
    assert found == {path: entry.found.value for path, entry in pack.entries().items() if entry.on_chain}


@pytest.mark.parametrize(
    ("given", "unit", "text"),
    [
        (None, "", "none"),
        (True, "", "yes"),
        (time(9), "", "09:00"),
        (240_000, "ppm", "24 %"),
        (1_250, "ppm", "0.125 %"),
        (550, "bp", "5.5 %"),
        (172_800, "s", "48 h"),
        (900, "s", "15 min"),
        (901, "s", "901 s"),
        (0, "s", "0 s"),
        (1, "days", "1 day"),
        (1_000, "", "1,000"),
        (tuple(DAYS[:5]), "", "Monday to Friday"),
        (("Monday", "Tuesday"), "", "Monday, Tuesday"),
        (("Monday",), "", "Monday"),
        (("Monday", "Wednesday", "Friday"), "", "Monday, Wednesday, Friday"),
        (Money(amount=1_505, currency="GBP"), "", "15.05 GBP"),
        (date(2026, 8, 1), "", "2026-08-01"),
        (["OVERDUE", "DUE_TODAY"], "", "OVERDUE, DUE_TODAY"),
        ({"en": ["sue", "jail*"], "zh": ["法院"]}, "", "2 in en, 1 in zh"),
    ],
)
def test_values_for_people(given, unit, text):
    assert text_of(given, unit) == text


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
    with_rule = parse_pack(TEXT + value("channels.sms.per_day", 2))
    assert with_rule.pack_hash != pack_hash
    assert with_rule.contact_limits == load_pack().contact_limits


def test_a_pack_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        load_pack().contact.gap.value = 0  # type: ignore[misc]
    assert isinstance(load_pack().contact.weekdays.value, tuple)
    assert PolicyPack.model_config["extra"] == "forbid"
