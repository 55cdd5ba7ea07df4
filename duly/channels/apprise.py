"""Push messages and SMS through whatever service Apprise knows; needs the extra `apprise`.

The operator names the service, as one Apprise URL with a place for the borrower's own contact: so that no
borrower can have messages sent through a service, or to a machine, of their choice, and each goes to one
contact alone.

Apprise tells success or failure and no more. A failure may mean that the message is on its way, so it is not
sent again; the gateway of `duly.channels.gateway` knows better.
"""

import logging
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from typing import Any, Final
from urllib.parse import quote

from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Receipt, Result
from duly.domain.consent import Channel

CONNECT: Final = 10.0
ANSWER: Final = 20.0
DEADLINE: Final = 60.0
"""Seconds to make a connection, to wait for each part of an answer, and for all of it."""

PLACE: Final = "{address}"
"""Stands in the URL where the borrower's contact goes."""

_ONE: Final = re.compile(r"[A-Za-z0-9_.:+~-]{1,512}")
"""What separates nothing from anything in a URL: one contact is one."""


class AppriseCarrier:
    """Sends notices through a service that an Apprise URL names. Not for several threads at once."""

    at_once: Final = 1

    def __init__(
        self,
        channel: Channel,
        url: str,
        *,
        connect: float = CONNECT,
        answer: float = ANSWER,
        deadline: float = DEADLINE,
    ) -> None:
        self.channel = channel
        self._url = url
        self._connect, self._answer, self._deadline = connect, answer, deadline
        self._worker: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"AppriseCarrier({self.channel.name}, {self._url.partition(':')[0]})"

    def ready(self) -> None:
        """See that Apprise is there and knows the service, and that its machine, where the URL names one, can
        be reached.

        Raises: CarrierUnavailable.
        """
        service = self._service("0")
        name = f"DULY_{self.channel.name}_APPRISE"
        if service is None:
            raise CarrierUnavailable(
                f"Apprise does not understand {name}", wanted="one URL with {address} in it"
            )
        host, port = getattr(service, "host", None), getattr(service, "port", None)
        if host:
            try:
                socket.create_connection(
                    (host, port or (443 if service.secure else 80)), self._connect
                ).close()
            except OSError:
                raise CarrierUnavailable(
                    f"the service of {name} cannot be reached", remedy=f"Check that it runs, and {name}."
                ) from None

    def send(self, message: Message | CodeMessage) -> Receipt:
        """Send one message, at most once."""
        if not _ONE.fullmatch(message.address):
            return Receipt(Result.REFUSED, "malformed")
        service = self._service(message.address)
        if service is None or len(service) > 1:
            return Receipt(Result.REFUSED, "malformed")
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="duly-apprise")
        # Apprise's own time limits are for each part of an answer.
        work = self._worker.submit(service.notify, body=message.body, title=message.subject)
        try:
            done = work.result(self._deadline)
        except TookTooLong:
            self._worker.shutdown(wait=False)
            self._worker = None
            return Receipt(Result.UNKNOWN, "no answer in time")
        except Exception as error:  # whatever a plugin of Apprise raises; its words may repeat the address
            return Receipt(Result.UNKNOWN, type(error).__name__)
        return Receipt(Result.SENT) if done else Receipt(Result.UNKNOWN, "Apprise failed")

    def send_all(self, messages: Sequence[Message]) -> list[Receipt]:
        """Send messages one after the other, each at most once."""
        return [self.send(message) for message in messages]

    def close(self) -> None:
        """Let go of what works in the background."""
        if self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None

    def _service(self, address: str) -> Any:
        """Apprise's object for one contact; None where the URL is none.

        Raises: CarrierUnavailable, where Apprise is not installed.
        """
        try:
            import apprise
        except ImportError:
            raise CarrierUnavailable(
                "Apprise is not installed", remedy="Install it: pip install 'duly[apprise]'."
            ) from None
        # They log what is sent and where to.
        for name in ("apprise", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        asset = apprise.AppriseAsset(
            app_id="", app_desc="", interpret_emojis=False, interpret_escapes=False, secure_logging=True
        )
        url = self._url.replace(PLACE, quote(address, safe=""))
        service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is not None:
            service.socket_connect_timeout, service.socket_read_timeout = self._connect, self._answer
        return service
