import pytest

from duly.domain import errors
from duly.domain.errors import DulyError, InstalmentTooCoarse, InvalidInput


def test_docstring_is_the_default_message() -> None:
    assert InstalmentTooCoarse().wrong == (
        "Rounding the instalments up would repay the loan before its last instalment"
    )


def test_tells_what_was_wanted_and_what_to_do() -> None:
    error = DulyError("the rate is -1", wanted="0 or more", remedy="Choose another rate.")
    assert str(error) == "the rate is -1 (wanted: 0 or more). Choose another rate."


@pytest.mark.parametrize("kind", [e for e in vars(errors).values() if isinstance(e, type)])
def test_every_error_is_ours_and_in_the_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, DulyError)
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


def test_what_no_ledger_accepts_is_wrong_input() -> None:
    assert issubclass(InstalmentTooCoarse, InvalidInput)
