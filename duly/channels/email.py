"""E-mail over SMTP, one message after the other on one connection.

What matters is to know whether a message went out. Before its text a server has nothing to deliver, so
whatever goes wrong until then is certain: not sent. From the final dot on only the server's answer tells;
without one nobody knows.

A mail names each of its notices by its id, and after it the salt of its content hash:
keccak256(salt ‖ subject ‖ "\\n\\n" ‖ text) is the hash on chain, lines ending in LF. So the mail proves
itself.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Coroutine
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import getaddresses
from typing import Final, TypeVar
from urllib.parse import quote

import aiosmtplib
from aiosmtplib import (
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.protocol import SMTPProtocol

from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Receipt, Result
from duly.config import MailSecurity, MailServer
from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput

TIMEOUT: Final = 30.0
"""Seconds to wait for each of the server's answers."""

_T = TypeVar("_T")

_START_INPUT: Final = 354
_CLOSING: Final = 421
_DOT: Final = re.compile(rb"(?m)^\.")
_LANGUAGES: Final = {"zh": "zh-Hans"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TEXT_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class EmailCarrier:
    """Sends notices by e-mail. Not for several threads at once, nor inside a running event loop."""

    channel: Final = Channel.EMAIL

    def __init__(self, server: MailServer, *, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout
        try:
            ((name, spec),) = getaddresses([server.sender])
            self._sender = Address(display_name=name, addr_spec=spec)
        except (ValueError, IndexError):  # the parser's, of an empty one
            self._sender = Address()
        if not (self._sender.username and self._sender.domain and self._sender.addr_spec.isascii()):
            raise InvalidInput("DULY_SMTP_SENDER is not a mail address", wanted="Name <name@example.org>")
        if _CONTROL.search(server.sender):
            raise InvalidInput("DULY_SMTP_SENDER holds control characters", wanted="Name <name@example.org>")
        self._runner: asyncio.Runner | None = None
        self._client: aiosmtplib.SMTP | None = None

    def __repr__(self) -> str:
        return f"EmailCarrier({self._server.host}:{self._server.port})"

    # ------------------------------------------------------------------------------------------ the port

    def ready(self) -> None:
        """Connect, where there is no connection that works.

        Raises: CarrierUnavailable.
        """
        try:
            self._run(self._connected())
        except (SMTPException, OSError) as error:
            server = self._server
            raise CarrierUnavailable(
                f"the mail server {server.host}:{server.port} does not take mail ({_code(error)})",
                remedy="Check that it runs, and the settings DULY_SMTP_….",
            ) from None

    def send(self, message: Message | CodeMessage) -> Receipt:
        """Send one mail, at most once."""
        try:
            recipient, data = self._compose(message)
        except (ValueError, IndexError):  # the parser's, of an empty address
            return Receipt(Result.REFUSED, "malformed")
        return self._run(self._send(recipient, data))

    def close(self) -> None:
        """Say goodbye to the server."""
        if self._client is not None:
            with contextlib.suppress(SMTPException, OSError):
                self._run(self._quit())
            self._client = None
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    # ------------------------------------------------------------------------------------------ the mail

    def _compose(self, message: Message | CodeMessage) -> tuple[str, bytes]:
        """The recipient and the bytes of a mail.

        Raises: ValueError, where a header would hold more than it should.
        """
        if _CONTROL.search(message.subject) or _CONTROL.search(message.address):
            raise ValueError("control characters in a header")
        if _TEXT_CONTROL.search(message.body):
            raise ValueError("control characters in the text")
        recipient = Address(addr_spec=message.address)
        if not (recipient.domain and message.address.isascii() and recipient.addr_spec == message.address):
            raise ValueError("not one plain address")
        mail = EmailMessage(policy=SMTP_POLICY)
        # A code's mail does not even name the sender: the display name may tell of a lender's business.
        nameless = Address(addr_spec=self._sender.addr_spec)
        mail["From"] = self._sender if isinstance(message, Message) else nameless
        mail["To"] = recipient
        mail["Subject"] = message.subject
        mail["Date"] = datetime.fromtimestamp(message.at, UTC)
        name = message.proofs[0].notice.hex()[:32] if isinstance(message, Message) else secrets.token_hex(16)
        mail["Message-ID"] = f"<{name}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if isinstance(message, Message):
            # What the text offers too: to reply with this word.
            stop = f"<mailto:{quote(self._sender.addr_spec, safe='@')}?subject=STOP>"
            mail["List-Unsubscribe"] = stop
            for proof in message.proofs:
                mail["Duly-Notice"] = proof.notice.hex()
                mail["Duly-Salt"] = proof.salt.hex()
        mail.set_content(message.body, charset="utf-8")
        mail["Content-Language"] = _LANGUAGES.get(message.language, message.language)
        return recipient.addr_spec, mail.as_bytes()

    # ------------------------------------------------------------------------------------------ the wire

    def _run(self, work: Coroutine[object, object, _T]) -> _T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            # The default asks a name server for this machine's name, which can take long.
            local_hostname=self._sender.domain,
            timeout=self._timeout,
            use_tls=server.security is MailSecurity.TLS,
            start_tls=server.security is MailSecurity.STARTTLS,
        )
        await client.connect()
        self._client = client
        return client

    async def _send(self, recipient: str, data: bytes) -> Receipt:
        try:
            protocol = await self._envelope(recipient)
            protocol.write(_DOT.sub(b"..", data) + b".\r\n")
        except SMTPRecipientRefused as error:
            await self._reset()
            result = Result.REFUSED if error.code >= 500 else Result.DEFERRED
            return Receipt(result, f"recipient {error.code}")
        except (SMTPException, OSError) as error:
            # The server has no text, so it has nothing to deliver.
            await self._reset()
            return Receipt(Result.DEFERRED, _code(error))
        # From here on the server may have the whole message: only its answer tells.
        try:
            response = await protocol.read_response(timeout=self._timeout)
        except (SMTPException, OSError) as error:
            self._drop()
            return Receipt(Result.UNKNOWN, _code(error))
        if 200 <= response.code < 300:
            return Receipt(Result.SENT)
        if response.code == _CLOSING:
            self._drop()
        if 400 <= response.code < 600:
            result = Result.DEFERRED if response.code < 500 else Result.REFUSED
            return Receipt(result, f"SMTP {response.code}")
        self._drop()
        return Receipt(Result.UNKNOWN, f"SMTP {response.code}")

    async def _envelope(self, recipient: str) -> SMTPProtocol:
        """Tell the server from whom and to whom, until it asks for the text.

        A connection that the server closed meanwhile is made anew, once.
        """
        while True:
            kept = self._client is not None and self._client.is_connected
            try:
                client = await self._connected()
                await client.mail(self._sender.addr_spec)
                await client.rcpt(recipient)
                answer = await client.execute_command(b"DATA")
                if answer.code != _START_INPUT:
                    raise SMTPResponseException(answer.code, "")
                if client.protocol is None:
                    raise SMTPServerDisconnected("")
            except (SMTPException, OSError) as error:
                closing = isinstance(error, SMTPResponseException) and error.code == _CLOSING
                if isinstance(error, SMTPResponseException) and not closing:
                    raise
                self._drop()
                if not kept:
                    raise
            else:
                return client.protocol

    async def _reset(self) -> None:
        """Let the server forget the message that was begun, or the connection where that fails."""
        if self._client is not None and self._client.is_connected:
            try:
                await self._client.rset()
            except (SMTPException, OSError):
                self._drop()

    async def _quit(self) -> None:
        if self._client is not None and self._client.is_connected:
            await self._client.quit(timeout=2)

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _code(error: Exception) -> str:
    """What went wrong, as a code: a server's own words may repeat the address."""
    if isinstance(error, SMTPResponseException):
        return f"SMTP {error.code}"
    if isinstance(error, (SMTPTimeoutError, TimeoutError)):
        return "no answer in time"
    cause = error.__cause__ or error
    if isinstance(cause, ConnectionRefusedError) or "refused" in str(cause).lower():
        return "connection refused"
    if isinstance(error, aiosmtplib.SMTPConnectError):
        return "no connection"
    return "connection lost"
