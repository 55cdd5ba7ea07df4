"""Unit tests reach nothing outside the process."""

from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket

# A slow machine is no failure. The integration tests try the same mathematics by the ten thousand.
settings.register_profile(
    "unit", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")


def pytest_runtest_setup() -> None:
    disable_socket(allow_unix_socket=True)  # asyncio needs those
