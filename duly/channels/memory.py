"""A channel that keeps what it is given, for tests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Receipt, Result
from duly.domain.consent import Channel


@dataclass
class MemoryCarrier:
    """Keeps notices in `sent`, codes in `codes`. Answers with `receipts` while there are any, then with SENT.

    `available` is whether it is ready; `handed` counts the sends, however they went.
    """

    channel: Channel = Channel.EMAIL
    receipts: list[Receipt] = field(default_factory=list)
    available: bool = True
    sent: list[Message] = field(default_factory=list)
    codes: list[CodeMessage] = field(default_factory=list)
    handed: int = 0
    at_once: int = 1

    def will(self, *results: Result, reason: str | None = None) -> None:
        """Answer the next sends like this."""
        self.receipts.extend(Receipt(result, reason) for result in results)

    def ready(self) -> None:
        if not self.available:
            raise CarrierUnavailable("this channel was made unavailable")

    def send(self, message: Message | CodeMessage) -> Receipt:
        self.handed += 1
        receipt = self.receipts.pop(0) if self.receipts else Receipt(Result.SENT)
        if receipt.result is Result.SENT:
            if isinstance(message, CodeMessage):
                self.codes.append(message)
            else:
                self.sent.append(message)
        return receipt

    def send_all(self, messages: Sequence[Message]) -> list[Receipt]:
        return [self.send(message) for message in messages]

    def to(self, address: str) -> Iterable[Message]:
        """What was sent to an address."""
        return [message for message in self.sent if message.address == address]

    def close(self) -> None:
        pass
