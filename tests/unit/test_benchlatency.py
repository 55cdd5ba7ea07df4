"""Percentiles of the latency bench, and when it says that it was too slow."""

import math

import pytest

from duly.services.benchlatency import Latency, LatencyReport, Wait


def latency(*arrived: float, lost: int = 0) -> Latency:
    return Latency("sqlite", tuple(Wait(1.0, each) for each in arrived), lost)


def test_percentiles_are_of_the_nearest_rank() -> None:
    measured = latency(*(number / 100 for number in range(100, 0, -1)))
    assert [measured.within(share) for share in (0.5, 0.9, 0.99, 1.0)] == [0.5, 0.9, 0.99, 1.0]
    assert measured.within(0.99, lambda wait: wait.served) == 1.0
    assert latency(3.0).within(0.5) == 3.0
    assert latency().within(0.5) == math.inf


@pytest.mark.parametrize(
    ("measured", "missed"),
    [
        (latency(*[2.4] * 99, 9.0), False),
        (latency(*[2.4] * 98, 9.0, 9.0), True),
        (latency(*[2.6] * 100), True),
        (latency(*[1.0] * 100, lost=1), True),
        (latency(lost=1), True),
    ],
)
def test_what_is_too_slow(measured: Latency, missed: bool) -> None:
    report = LatencyReport(20, 5, "a machine", (measured,))
    assert report.missed == (["sqlite"] if missed else [])
    told = report.as_json()["databases"]
    assert isinstance(told, dict)
    assert told["sqlite"]["events"] == len(measured.waits) + measured.lost
