"""Reverts, asserted with the exact error and its arguments."""

from contextlib import contextmanager

import brownie
import pytest


def reverts_with(name, *args):
    """A context that must end in the custom error `name` with exactly these arguments.

    Brownie shows such an error as `Name: a, b`, and as `Name: ` where it has no arguments.
    """
    return brownie.reverts(f"{name}: {', '.join(_shown(arg) for arg in args)}")


@contextmanager
def reverts_telling(name):
    """A context that must end in the custom error `name`. Its arguments, all numbers, are told in a list."""
    told = []
    with pytest.raises(brownie.exceptions.VirtualMachineError) as refused:
        yield told
    error, _, args = refused.value.revert_msg.partition(": ")
    assert error == name, refused.value.revert_msg
    told += [int(arg) for arg in args.split(", ")]


def _shown(arg):
    if isinstance(arg, bytes):
        return repr(bytes(arg).ljust(32, b"\0"))
    if isinstance(arg, int):
        return str(int(arg))
    return str(arg).lower()  # an address
