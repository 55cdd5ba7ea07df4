"""Unit tests reach nothing outside the process."""

from hypothesis import settings
from pytest_socket import disable_socket

settings.register_profile("unit", deadline=None)  # a slow machine is no failure
settings.load_profile("unit")


def pytest_runtest_setup() -> None:
    disable_socket(allow_unix_socket=True)  # asyncio needs those
