"""Reverts, asserted with the exact error and its arguments."""

import brownie


def reverts_with(name, *args):
    """A context that must end in the custom error `name` with exactly these arguments.

    Brownie shows such an error as `Name: a, b`, and as `Name: ` where it has no arguments.
    """
    return brownie.reverts(f"{name}: {', '.join(_shown(arg) for arg in args)}")


def _shown(arg):
    if isinstance(arg, bytes):
        return repr(bytes(arg).ljust(32, b"\0"))
    if isinstance(arg, int):
        return str(int(arg))
    return str(arg).lower()  # an address
