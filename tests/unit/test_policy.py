"""Limits: what no policy book would publish."""

from dataclasses import replace

import pytest

from duly.domain.policy import InvalidPolicy, check_bounds
from duly.services.policy import load_pack


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
