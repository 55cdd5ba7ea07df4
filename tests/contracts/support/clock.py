"""The chain's time, moved to the second."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from brownie import web3

DAY = 86_400
HOUR = 3_600
MINUTE = 60


def utc(*moment: int) -> int:
    """Seconds since 1970 of a moment in UTC: year, month, day, hour, minute, second."""
    return int(datetime(*moment, tzinfo=UTC).timestamp())


# A Monday, at noon in UTC+8. Far enough ahead for any machine's clock: a chain's time cannot go back.
START = utc(2040, 1, 16, 4)


class Clock:
    """Brownie's own `chain.sleep` drifts once a long jump was reverted, so every moment is set outright."""

    def now(self) -> int:
        """Time of the latest block, which calls see."""
        return int(web3.eth.get_block("latest")["timestamp"])

    def to(self, timestamp: int) -> int:
        """Make it `timestamp`, for calls and for the next transaction alike."""
        self._request("evm_mine", timestamp)
        self._request("evm_setNextBlockTimestamp", timestamp)
        return timestamp

    def forward(self, seconds: int) -> int:
        """Let time pass."""
        return self.to(self.now() + seconds)

    @contextmanager
    def glimpse(self, timestamp: int) -> Iterator[None]:
        """Look at the chain as it will be at `timestamp`, then come back. Calls only."""
        # Not Brownie's own snapshot: there is one of those, and it keeps the tests apart.
        here = self._request("evm_snapshot")
        self._request("evm_mine", timestamp)
        yield
        self._request("evm_revert", here)

    @staticmethod
    def _request(method: str, *parameters: Any) -> Any:
        answer = web3.provider.make_request(method, list(parameters))
        if "error" in answer:
            raise RuntimeError(f"{method}{parameters}: {answer['error']['message']}")
        return answer["result"]
