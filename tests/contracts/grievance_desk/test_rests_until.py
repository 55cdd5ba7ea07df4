"""Several grievances at once: reminders rest until the last one's rest is over, and so do late fees."""

from dataclasses import dataclass
from random import Random

import pytest
from support.clock import DAY, HOUR
from support.offers import FOREVER, PAUSE, Contact, Grievance


def test_nothing_rests_without_a_grievance(desk, open_loan, borrower, rests):
    assert rests(open_loan(), borrower) == (0, 0)


def test_pause_1_two_about_one_loan_end_with_the_last(
    lodge, withdraw, answer, open_loan, restful, clock, borrower, rests
):
    loan = open_loan(policy=restful)
    lodge(loan, Grievance.DISPUTE)
    lodge(loan, Grievance.HARDSHIP)
    answer(loan, Grievance.DISPUTE)
    assert rests(loan, borrower) == (FOREVER, FOREVER)
    clock.forward(7 * DAY)
    last = answer(loan, Grievance.HARDSHIP).timestamp + PAUSE
    assert rests(loan, borrower) == (last, last)
    # One that is lodged and withdrawn meanwhile makes it no shorter.
    lodge(loan, Grievance.REPRESENTATION)
    assert rests(loan, borrower) == (FOREVER, FOREVER)
    withdraw(loan, Grievance.REPRESENTATION)
    assert rests(loan, borrower) == (last, last)


def test_pause_1_two_about_two_loans_rest_all_until_the_last_ends(
    lodge, answer, open_loan, restful, clock, borrower, rests
):
    first, second, third = (open_loan(policy=restful) for _ in range(3))
    lodge(first, Grievance.HARDSHIP)
    lodge(second, Grievance.HARDSHIP)
    # Fees rest by loan: no instalment of the third is in question.
    wanted = [(FOREVER, FOREVER), (FOREVER, FOREVER), (FOREVER, 0)]
    assert [rests(loan, borrower) for loan in (first, second, third)] == wanted
    early = answer(first, Grievance.HARDSHIP).timestamp + PAUSE
    assert rests(first, borrower) == (FOREVER, early)
    clock.forward(5 * DAY)
    late = answer(second, Grievance.HARDSHIP).timestamp + PAUSE
    wanted = [(late, early), (late, late), (late, 0)]
    assert [rests(loan, borrower) for loan in (first, second, third)] == wanted


@dataclass
class Lodged:
    """One grievance, kept by itself."""

    loan: int
    grievance: int
    all_loans: bool
    fees_rest: bool
    until: int = FOREVER


@pytest.mark.parametrize("seed", range(4))
def test_pause_1_any_grievances_in_any_order(
    lodge, withdraw, answer, publish, open_loan, clock, borrower, rests, seed
):
    """Against a list of all that were ever lodged, each with its own end."""
    random = Random(seed)
    limits = [
        Contact(
            pause_days=random.randint(0, 9),
            rest_all_loans=random.randint(0, 7),
            rest_fees=random.randint(0, 7),
            opens=420,
            closes=1320,
        )
        for _ in range(3)
    ]
    loans = [open_loan(policy=publish(contact=contact)) for contact in limits]
    ever = []
    for _ in range(25):
        clock.to((clock.now() // DAY + random.randint(1, 3)) * DAY + random.randint(0, 13 * HOUR))
        k, grievance = random.randrange(3), random.choice(list(Grievance))
        loan, contact = loans[k], limits[k]
        standing = [it for it in ever if (it.loan, it.grievance, it.until) == (k, grievance, FOREVER)]
        if not standing:
            lodge(loan, grievance)
            ever.append(
                Lodged(
                    k,
                    grievance,
                    bool(contact.rest_all_loans >> grievance & 1),
                    bool(contact.rest_fees >> grievance & 1),
                )
            )
        elif grievance == Grievance.REPRESENTATION or random.random() < 0.3:
            standing[0].until = withdraw(loan, grievance).timestamp
        else:
            standing[0].until = answer(loan, grievance).timestamp + contact.pause_days * DAY
        for number, about in enumerate(loans):
            reminders = [it.until for it in ever if it.loan == number or it.all_loans]
            fees = [it.until for it in ever if it.loan == number and it.fees_rest]
            assert rests(about, borrower) == (max(reminders, default=0), max(fees, default=0))
