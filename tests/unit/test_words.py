"""The rules about words, what is refused for them, and that every text keeps them: in every language, under
every pack, in every situation."""

import re
from functools import cache
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Case, a_loan, paid

from duly.domain import schedule
from duly.domain.loan import position_of
from duly.domain.notice import Kind, Refusal, ground
from duly.domain.split import split_of
from duly.domain.terms import ZERO_ADDRESS, Schedule
from duly.domain.words import MOST_SEGMENTS, PREVIEW, find, segments
from duly.services.policy import InvalidPack, load_pack, pack_names, parse_pack, strict_rules, word_rules
from duly.services.render import check_templates, load_templates, situations, templates, trials
from duly.services.samples import samples, together
from duly.services.serve import OTHER_TEMPLATES, Server
from duly.services.templates import LOCALES, InvalidTemplates, TemplateSet

TEMPLATES = templates()


@cache
def every_text():
    """Each way in which a text can be made, once: its situation, and the text as its reader sees it."""
    return [text for file in trials().files for text in trials().of(file, TEMPLATES).texts]


def refused(changes, match):
    with pytest.raises(InvalidTemplates, match=match):
        check_templates(TemplateSet(TEMPLATES.files | changes), strict_rules())


def with_words(name, words):
    return {name: TEMPLATES.files[name] + words + "\n"}


# ------------------------------------------------------------------------------- what every text keeps to


@pytest.mark.parametrize("name", pack_names())
def test_words_1_every_text_keeps_the_rules_of_every_pack(name):
    rules = word_rules(load_pack(name))
    assert len(every_text()) > 50
    assert TEMPLATES.problems(rules, trials()) == []


def test_words_1_every_branch_of_every_template_is_taken():
    branches = TEMPLATES.branches()
    assert len(branches) > 60
    assert branches == {branch for situation in situations() for branch in TEMPLATES.tried(situation)[0]}
    assert branches == {branch for file in trials().files for branch in trials().of(file, TEMPLATES).taken}
    assert {each.kind for each in samples()} == set(Kind)


def test_words_1_every_reminder_is_tried_together_with_others_too():
    alone = [each for each in samples() if each.kind.is_reminder]
    beside = [each for several in together() for each in several]
    assert {len(several) for several in together()} == {2, 3}
    assert {tuple(each.kind for each in several) for several in together()} >= {
        (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY),
        (Kind.OVERDUE, Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY),
    }
    said = {(each.kind, each.position, each.ground) for each in beside}
    assert said == {(each.kind, each.position, each.ground) for each in alone}


def test_no_text_has_markup_or_double_blanks_left():
    for situation, (said, *_) in every_text():
        text = f"{said.subject}\n\n{said.body}"
        assert not re.search(r"[{}\0]|None|  |\n\n\n| \n|，，|。。| [,.]", text), (situation.file, text)


def test_chinese_texts_hold_no_english_but_names():
    for situation, _ in every_text():
        if situation.locale == "zh":
            text = TEMPLATES.marked(situation, lambda name, value: "")
            words = set(re.findall(r"[A-Za-z]+", text))
            assert words <= {"STOP", "revoke", "repay", "rescind", "NoticeServed"}, (situation.file, words)


def facts_in(situation):
    """The names of the values that a text shows."""
    shown = []
    TEMPLATES.marked(situation, lambda name, value: shown.append(name) or value)
    return sorted(shown)


def test_english_and_chinese_show_the_same_facts():
    english, chinese = ([each for each in situations() if each.locale == locale] for locale in ("en", "zh"))
    different = {id(situation) for situation, _ in every_text()}
    for one, other in zip(english, chinese, strict=True):
        for (kind, values), (same, others) in zip(one.notices, other.notices, strict=True):
            assert kind is same
            for name in ("amount", "code", "principal_part", "interest_part", "fee_part"):
                assert values[name] == others[name]
        if {id(one), id(other)} & different:
            assert facts_in(one) == facts_in(other)


def test_borrower_1_subject_and_preview_tell_nothing_of_a_debt():
    rules = strict_rules()
    for situation, (said, *_) in every_text():
        assert find(said.subject + "\n" + said.preview, rules.telling) == [], situation.file
        assert len(said.preview) == PREVIEW
        assert said.shown_early == {"reference"}


def test_words_1_every_kind_has_a_short_text_that_a_telephone_network_carries():
    short = [situation for situation in situations() if situation.short]
    assert {situation.notices[0][0] for situation in short} == set(Kind)
    for situation in short:
        text = "\n\n".join(TEMPLATES.render(situation))
        assert segments(text) <= MOST_SEGMENTS
        if situation.locale == "en":
            # Nothing beyond the alphabet of these networks, which would make it twice as dear.
            assert segments(text) == -(-len(text) // 153)


def test_a_text_takes_as_many_messages_as_a_telephone_network_needs():
    assert [segments("a" * count) for count in (1, 160, 161, 306, 307)] == [1, 1, 2, 2, 3]
    assert [segments("您" * count) for count in (1, 70, 71, 134, 135)] == [1, 1, 2, 2, 3]
    assert segments("€" * 80) == 1
    assert segments("€" * 81) == 2
    assert segments("a" * 70 + "…") == 2


def test_a_short_text_says_what_a_long_one_says_but_for_what_needs_contracts():
    for situation, (said, *_) in every_text():
        if situation.short and said.kind == "OVERDUE":
            assert said.shown >= {"reference", "amount", "due_date", "lender", "code", "chain"}
            assert "reply stop" in said.body.lower() or "回复 STOP" in said.body


# ------------------------------------------------------------------------------------ plain language


def prose_of(situation):
    """What a person reads as sentences: codes, addresses and amounts stand as one short word each."""
    word = " it " if situation.locale == "en" else "某"
    return TEMPLATES.marked(situation, lambda name, value: word).partition("\n\n")[2]


def syllables(word):
    """Groups of vowels; a final silent e, and the e of a final -ed, are not spoken."""
    word = word.lower()
    count = len(re.findall("[aeiouy]+", word))
    if re.search("[^aeioul]e$|[^aeioutd]ed$|[^aeiouscxzgh]es$", word) and count > 1:
        count -= 1
    return max(1, count)


def grade(text):
    """The Flesch-Kincaid grade of an English text; a heading and a row of a list are sentences."""
    sentences = [each for each in re.split(r"[.:?!]\s|\n", text) if re.search("[A-Za-z]", each)]
    words = re.findall("[A-Za-z]+(?:'[a-z]+)?", text)
    return 0.39 * len(words) / len(sentences) + 11.8 * sum(map(syllables, words)) / len(words) - 15.59


def test_syllables_are_counted():
    words = {"message": 2, "pay": 1, "interest": 3, "principal": 3, "amount": 2, "late": 1, "owed": 1}
    assert {word: syllables(word) for word in words} == words


FILES = [f"{name}.txt" for name in (*(kind.name.lower() for kind in Kind), "reminders", "short")]


@pytest.mark.parametrize("file", FILES)
def test_the_english_can_be_read_after_eight_years_of_school(file):
    for situation, _ in every_text():
        if situation.file == f"en/{file}":
            assert grade(prose_of(situation)) <= 8


@pytest.mark.parametrize("file", FILES)
def test_the_chinese_has_short_sentences(file):
    for situation, _ in every_text():
        if situation.file == f"zh/{file}":
            sentences = [s for s in re.split("[。！？\n]", prose_of(situation)) if s.strip()]
            lengths = [len(re.findall(r"[\u4e00-\u9fff]", sentence)) for sentence in sentences]
            assert sum(lengths) / len(lengths) <= 20
            assert max(lengths) <= 50


# ------------------------------------------------------------------------------- what cannot be loaded


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("You may be arrested.", r"'arrest\*' is prohibited \(threats\)"),
        ("We will take LEGAL\n  action.", r"'legal action\*'"),
        ("You will be black-\nlisted.", r"'black list\*'"),
        ("Ｐｏｌｉｃｅ", "'police'"),
        ("po\u00adlice", "'police'"),
        ("p\u043elice", "characters that no text needs"),
        ("Shame on you.", r"'shame\*.*shaming"),
        ("This is our law firm.", r"'law firm\*.*officials"),
        ("We told your family.", "'family' is prohibited .third_parties"),
        ("Your friends know.", r"'friend\*"),
        ("Pay immediately!", r"'immediate\*.*pressure"),
        ("Last\nchance.", r"'last chance\*"),
        ("Take another loan.", r"'another loan\*.*new_borrowing"),
        ("我们会告诉您的家人", "'家人'"),
        ("立 即", "'立即'"),
    ],
)
@pytest.mark.parametrize("locale", LOCALES)
def test_words_1_a_template_that_threatens_shames_or_presses_cannot_be_loaded(words, told, locale):
    refused(with_words(f"{locale}/overdue.txt", words), rf"{locale}/overdue\.txt: {told}")


@pytest.mark.parametrize(
    "word", ["家人", "亲友", "单位", "同事", "通讯录", "联系人", "最后通牒", "法院", "黑名单"]
)
def test_words_1_a_chinese_template_that_names_others_cannot_be_loaded(word):
    refused(with_words("zh/due_today.txt", f"我们{word[0]}，\n{word[1:]}。"), f"zh/due_today.txt: '{word}'")


@pytest.mark.parametrize(
    ("file", "old", "line"),
    [
        ("en/_close.txt", "dispute", "dispute"),
        ("en/_close.txt", "Reply STOP.", "opt_out"),
        ("en/_close.txt", " {{ consents }}", "stop"),
        ("en/_close.txt", "{{ code }}", "genuine"),
        ("en/_close.txt", ", {{ lender }}", "sender"),
        ("en/_close.txt", "IF YOU NEED HELP", "help"),
        ("en/_pay.txt", " {{ ledger }}", "pay"),
        ("en/_late.txt", "{{ late_fee }}", "late_fee"),
        ("en/_split.txt", "{{ interest_part }}", "split"),
        ("en/_due_today.txt", "{{ due_date }}", "due_date"),
        ("zh/_due_today.txt", "{{ amount }}", "amount"),
        ("en/short.txt", "Reply STOP to end these messages.", "opt_out"),
        ("en/short.txt", "{{ code }}", "genuine"),
        ("en/short.txt", "{{ amount }}", "amount"),
        ("en/short.txt", "{{ late_fee }}", "late_fee"),
        ("zh/short.txt", "异议", "dispute"),
        # Of several reminders each has to say all, whatever the others say.
        ("en/_reminder.txt", "{{ reference }}", "reference"),
        ("en/_reminder.txt", "{{ code }}", "genuine"),
        ("zh/_reminder.txt", '{% include "zh/_pay.txt" %}', "pay"),
        ("en/reminders.txt", '{% include "en/_close.txt" %}', "stop"),
        ("zh/_open.txt", "{{ reference }}", "reference"),
        ("zh/_close.txt", "请回复 STOP。", "opt_out"),
    ],
)
def test_words_1_a_template_without_a_required_line_cannot_be_loaded(file, old, line):
    text = TEMPLATES.files[file]
    assert old in text
    refused({file: text.replace(old, "")}, rf"{file[:2]}/\w+\.txt: the line '{line}' is missing")


def test_words_1_what_is_said_in_one_branch_alone_is_found():
    refused(
        with_words("en/overdue.txt", "{% if not late_fee %}Final warning.{% endif %}"), r"final warning\*"
    )
    refused(with_words("en/_late.txt", "{% if in_part %}{% else %}We sue.{% endif %}"), "'sue'")


@pytest.mark.parametrize("name", ["reminders", "_reminder"])
def test_words_1_reminders_in_one_message_get_the_same_check(name):
    refused(with_words(f"en/{name}.txt", "Shame on you."), r"en/reminders\.txt: 'shame\*")
    # What begins with one loan and goes on with the next is found too.
    text = TEMPLATES.files["en/_reminder.txt"]
    refused({"en/_reminder.txt": "Chance\n" + text + "This is the last\n"}, "'last chance")


def test_words_1_what_is_told_of_all_loans_is_of_none_alone():
    refused(with_words("en/reminders.txt", "{{ due_date }}"), "'due_date' is undefined")


def test_words_1_a_branch_that_no_situation_takes_cannot_be_loaded():
    hidden = "{% if number == 7 %}Anything.{% endif %}"
    refused(with_words("en/overdue.txt", hidden), r"en/overdue\.txt, line \d+: the condition holds in no sit")
    unused = {"en/other.txt": "{% if late_fee %}a{% endif %}"}
    refused(unused, r"en/other\.txt, line 1")


@pytest.mark.parametrize(
    "hidden",
    ['{{ "arr" ~ "est" }}', "{{ amount|upper }}", "{% for a in b %}{% endfor %}", "{% set a = 1 %}",
     "{{ amount if late_fee }}", "{% include name %}", "{% if number > 7 %}{% endif %}", "{% if %}"],
)  # fmt: skip
def test_words_1_a_template_that_computes_cannot_be_loaded(hidden):
    refused(with_words("zh/overdue.txt", hidden), r"zh/overdue\.txt, line \d+:")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("en/_open.txt", "A message", "Your loan: a message", r"'loan\*' in the subject"),
        (
            "en/_open.txt",
            "Hello,",
            "Hello, {{ amount }}",
            "'amount' is shown in the subject",
        ),
        ("en/_open.txt", "Hello,", "Hello, you owe us", "'owe' in the first 120 characters"),
        ("zh/_open.txt", "您好", "您好，您的贷款", "'贷' in the first 120 characters"),
        (
            "en/overdue.txt",
            '{% include "en/_open.txt" %}',
            'Another message\n\n{% include "en/_open.txt" %}',
            "its subject differs",
        ),
        ("en/_open.txt", "Hello", "{{ '{{' }}", "nothing else"),
    ],
)
def test_borrower_1_a_template_whose_preview_tells_of_a_debt_cannot_be_loaded(file, old, new, told):
    refused({file: TEMPLATES.files[file].replace(old, new)}, told)


def test_words_1_a_short_text_that_is_long_cannot_be_loaded():
    refused(with_words("en/short.txt", "Please. " * 60), r"en/short\.txt: a short text takes \d messages")


def test_templates_of_ones_own_get_the_same_check(tmp_path):
    for name, text in TEMPLATES.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_templates(tmp_path).hash == TEMPLATES.hash
    own = tmp_path / "en" / "_close.txt"
    own.write_text(own.read_text().replace("Reply STOP", "Please reply STOP"))
    assert load_templates(tmp_path).hash != TEMPLATES.hash
    own.write_text("We will call your employer.")
    with pytest.raises(InvalidTemplates, match=r"'employer\*' is prohibited"):
        load_templates(tmp_path)
    own.unlink()
    (tmp_path / "zh" / "overdue.txt").unlink()
    with pytest.raises(InvalidTemplates, match=r"zh/overdue.txt: the file is missing"):
        load_templates(tmp_path)
    with pytest.raises(InvalidTemplates, match="cannot be read"):
        load_templates(tmp_path / "nowhere")


# ------------------------------------------------------------------------------------ rules of packs

OWN = """
[words.required.due_date]
value = ["LOAN_REPAID"]
source = "A test"
status = "chosen"
as_of = 2026-11-23

[words.prohibited.own]
source = "A test"
status = "chosen"
as_of = 2026-11-23
value.en = ["hello"]
"""


def strict_text():
    from importlib.resources import files

    return (files("duly") / "policies" / "strict.toml").read_text(encoding="utf-8")


def own_pack(words):
    text = strict_text()
    return parse_pack(text[: text.index("[words.required.sender]")].replace('"STRICT"', '"OWN"') + words)


def test_a_pack_without_words_has_those_of_strict_and_its_own_come_on_top():
    assert word_rules(own_pack("")) == strict_rules() == word_rules(load_pack("STRICT"))
    rules = word_rules(own_pack(OWN))
    assert set(rules.lines("LOAN_REPAID")) == set(strict_rules().lines("LOAN_REPAID")) | {"due_date"}
    with pytest.raises(InvalidTemplates, match=r"en/\w+.txt: 'hello' is prohibited \(own\)"):
        check_templates(TEMPLATES, rules)


def test_a_pack_cannot_ask_for_what_there_is_not():
    with pytest.raises(InvalidPack, match="there is no kind of notice LOAN_PAID"):
        own_pack(OWN.replace("LOAN_REPAID", "LOAN_PAID"))
    with pytest.raises(InvalidPack, match="due_dates"):
        own_pack(OWN.replace("required.due_date", "required.due_dates"))


def test_every_list_of_words_tells_its_source():
    words = load_pack("STRICT").words
    for value in (*words.required.values(), *words.prohibited.values(), words.telling):
        assert value.source
        assert value.status


def test_whole_words_are_meant():
    phrases = {"en": ["sue", "court*", "last chance"], "zh": ["法院"]}
    assert find("We pursue an issue.", phrases) == []
    assert find("Courtesy; LAST - chance", phrases) == ["court*", "last chance"]
    assert find("到法 院", phrases) == ["法院"]


# ------------------------------------------------------------------------------------ the split


@given(
    kind_of_schedule=st.sampled_from(Schedule),
    principal=st.integers(50_000, 10**9),
    rate=st.integers(0, 350_000),
    instalments=st.integers(1, 24),
    late_fee=st.sampled_from([0, 100]),
    payments=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 10**8)), max_size=4),
    day=st.integers(1, 900),
)
def test_basis_1_the_split_sums_to_the_amount_that_the_chain_checked(
    kind_of_schedule, principal, rate, instalments, late_fee, payments, day
):
    if kind_of_schedule is Schedule.INTEREST_ONLY and instalments > 1:
        rate = max(rate, 1_000)
    loan = a_loan(
        schedule=kind_of_schedule,
        principal=principal,
        rate=rate,
        instalments=instalments,
        late_fee=late_fee,
    )
    now = loan.opened_at
    for days, amount in payments:
        now += days * 86_400
        if loan.owed:
            loan, _ = schedule.apply_payment(loan, amount, now)
    now = max(now, loan.opened_at + day * 86_400)
    position = position_of(loan, ZERO_ADDRESS, now)
    for kind in Kind:
        decision, base = ground(kind, Case(loan=loan).facts(now))
        # An overdue notice may be served from its first day on alone.
        if decision.reason is Refusal.NO_BASIS or position.today < base.first_day:
            continue
        split = split_of(kind, loan, position, base)
        if split is None:
            assert base.amount == 0, kind
            continue
        assert min(split) >= 0, kind
        if kind is Kind.LOAN_OPENED:
            assert split.principal == base.amount
            assert split.amount == loan.total
        elif kind is Kind.PAYMENT_RECEIVED:
            assert split.amount == position.paid
        else:
            assert split.amount == base.amount


def test_a_partly_paid_instalment_is_split_by_the_order_of_payment():
    loan = a_loan()  # 1,061.82 an instalment; 112.20 of the first is interest
    for credited, principal, interest in ((5_000, 94_962, 6_220), (11_220, 94_962, 0), (50_000, 56_182, 0)):
        part = paid(loan, credited, "2027-01-12 11:00")
        case = Case(loan=part)
        now = 86_400 * loan.terms.first_due
        _, base = ground(Kind.DUE_TODAY, case.facts(now))
        assert split_of(Kind.DUE_TODAY, part, case.facts(now).position, base) == (principal, interest, 0)


# ------------------------------------------------------------------------------------ what was published


@pytest.mark.parametrize("published", [TEMPLATES.hash, bytes(32), None])
def test_basis_1_notices_are_served_with_the_templates_that_the_policy_was_published_with(published):
    policy = published and SimpleNamespace(templates=published, pack=load_pack("STRICT").pack_hash)
    model = SimpleNamespace(policy=lambda number: policy)
    server = Server(
        None, SimpleNamespace(resume=list, most_gas=lambda: 0), model, None, None, None, TEMPLATES
    )  # type: ignore[arg-type]
    ready = SimpleNamespace(ready=True, policy=1, id=b"", message=b"")
    if published == TEMPLATES.hash:
        assert server._fits(1)
    else:
        assert server.serve([ready], 0).skipped == {OTHER_TEMPLATES: 1}  # type: ignore[list-item]
