"""What is wrong with a timeline is told by file, line and column, with what was wanted."""

import pytest
from timeline import BadTimeline, Moment, read

HEADER = "timestamp,actor,action,amount,terms,owed,lender change\n"
OPEN = (
    "2040-01-31 23:59:59,borrower,open,,principal=300 rate=0% instalments=3 first_due=2040-03-01,300,-300\n"
)


def line_of(text, header=HEADER):
    return read("good.csv", header + text).lines[0]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2040-02-16 23:59:59", Moment(utc=2_213_049_599)),
        ("2040-02-16 23:59", Moment(utc=2_213_049_540)),
        ("2040-02-16 23:59 -1d", Moment(utc=2_213_049_540, later=-86_400)),
        ("due 3", Moment(instalment=3)),
        ("due 12 +5d +1s", Moment(instalment=12, later=432_001)),
        ("+2h +30m", Moment(later=9_000)),
        ("", Moment()),
    ],
)
def test_moments(text, moment):
    assert line_of(f"{text},,check,,,1,").moment == moment


def test_a_line_is_read():
    line = line_of(
        "+1d,keeper,amend,,principal=1.05 instalments=3 first_due=1970-02-01 rate=11.22% "
        "schedule=equal-principal calendar_offset=-03:30,0.07,-1\n"
    )
    assert (line.number, line.actor, line.action) == (2, "keeper", "amend")
    assert line.terms == {
        "principal": 105,
        "instalments": 3,
        "first_due": 31,
        "rate": 112_200,
        "schedule": 1,
        "calendar_offset": -14,
    }
    assert line.expected == {"owed": 7, "lender change": -100}


def test_six_decimals_hold_for_every_line():
    opening = OPEN.replace("rate=0%", "decimals=6 rate=0%")
    timeline = read("six.csv", HEADER + opening + "due 1,borrower,repay,0.000001,,299.999999,\n")
    assert timeline.decimals == 6
    assert (timeline.lines[0].terms["principal"], timeline.lines[1].amount) == (300_000_000, 1)


def test_comments_and_what_spreadsheets_add_are_passed_over():
    text = '\ufeff"# a comment, quoted",,\n\n timestamp , actor,action,owed,,\n,,,,,\n,,check, 1.5 ,,\n'
    assert [(line.number, line.expected) for line in read("sheet.csv", text).lines] == [(5, {"owed": 150})]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# nothing", "bad.csv: nothing to play; wanted a line of column names, and lines below it"),
        (
            "timestamp,actors\n,",
            "bad.csv: nothing to play; wanted a line of column names, and lines below it",
        ),
        ("when,actor\n1,2", "bad.csv, line 1, when: no such column; wanted one of timestamp, actor, "),
        ("owed,owed\n1,2", "bad.csv, line 1, owed: the column stands there twice; wanted each once"),
        (
            "owed,\n1,2",
            'bad.csv, line 2: "2" stands below no column\'s name; wanted a name on the first line',
        ),
        ("owed\n1,2", "bad.csv, line 2: 2 cells; wanted as many as there are columns, 1"),
        (HEADER + "due,,check,,,,", 'bad.csv, line 2, timestamp: "due"; wanted a moment in UTC such as '),
        (
            HEADER + "2040-02-30 12:00,,check,,,,",
            'line 2, timestamp: "2040-02-30 12:00"; wanted a moment in UTC',
        ),
        (HEADER + "due 1 +1d 2h,,check,,,,", 'line 2, timestamp: "due 1 +1d 2h"; wanted a moment in UTC'),
        (HEADER + ",bank,check,,,,", 'bad.csv, line 2, actor: "bank"; wanted one of lender, borrower, '),
        (
            HEADER + ",,repay,1,,,",
            "bad.csv, line 2, actor: nobody to repay; wanted one of lender, borrower, ",
        ),
        (HEADER + ",borrower,pay,1,,,", 'bad.csv, line 2, action: "pay"; wanted one of open, repay, '),
        (HEADER + ",borrower,repay,,,,", "bad.csv, line 2, amount: nothing to repay; wanted an amount"),
        (HEADER + ",borrower,rescind,1,,,", "bad.csv, line 2, amount: rescind has no amount; wanted nothing"),
        (
            HEADER + ",borrower,repay,12.345,,,",
            'bad.csv, line 2, amount: "12.345"; wanted a number with at most 2 decimals, '
            "such as 1200 or 106.62, or one of overdue, fees, instalment, owed, payoff",
        ),
        (HEADER + ",borrower,repay,nan,,,", 'bad.csv, line 2, amount: "nan"; wanted a number'),
        (HEADER + ",borrower,repay,-1,,,", 'bad.csv, line 2, amount: "-1"; wanted a number'),
        (
            HEADER + ",,check,,,much,",
            'bad.csv, line 2, owed: "much"; wanted a number with at most 2 decimals',
        ),
        (HEADER + ',,check,,,,"1,200"', 'bad.csv, line 2, lender change: "1,200"; wanted a number'),
        (HEADER + ",lender,defer,,,,", "bad.csv, line 2, terms: defer without intervals; wanted intervals=…"),
        (
            HEADER + ",lender,defer,,months=1,,",
            'line 2, terms: no such term as "months=1"; wanted name=value of ',
        ),
        (HEADER + ",lender,defer,,intervals=one,,", 'line 2, terms, intervals: "one"; wanted a whole number'),
        (
            HEADER + ",lender,defer,,intervals=1 to=keeper,,",
            "terms: defer has no term to; wanted one of intervals",
        ),
        (HEADER + ",lender,flag,,to=keeper,,", "line 2, terms: flag has no term to; wanted nothing"),
        (
            HEADER + ",lender,assign,,to=keeper to=lender,,",
            "line 2, terms: to stands there twice; wanted each once",
        ),
        (HEADER + OPEN.replace("0%", "12"), 'line 2, terms, rate: "12"; wanted a percentage such as 11.22%'),
        (HEADER + OPEN.replace("0%", "0.00001%"), '"0.00001%"; wanted a percentage in whole 1000000ths'),
        (
            HEADER + OPEN.replace("03-01", "3-1"),
            'terms, first_due: "2040-3-1"; wanted a day such as 2040-02-29',
        ),
        (HEADER + OPEN.replace("rate=0% ", ""), "line 2, terms: open without rate; wanted rate=…"),
        (
            HEADER + OPEN.replace("rate", "schedule=round rate"),
            '"round"; wanted one of level, equal-principal, ',
        ),
        (HEADER + OPEN.replace("rate", "decimals=3 rate"), 'terms, decimals: "3"; wanted one of 2, 6'),
        (
            HEADER + OPEN.replace("rate", "decimals=6 rate") + OPEN.replace("rate", "decimals=2 rate"),
            "bad.csv, line 3, terms, decimals: another currency; wanted 6 as on a line above",
        ),
    ],
)
def test_what_is_wrong_is_told(text, told):
    with pytest.raises(BadTimeline) as error:
        read("bad.csv", text)
    assert told in str(error.value)


def test_a_day_that_no_calendar_has_is_told():
    with pytest.raises(BadTimeline, match='due: "2041-02-29"; wanted a day such as'):
        read("bad.csv", "due\n2041-02-29\n")
