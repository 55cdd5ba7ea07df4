"""E-mail over SMTP, on a few connections, one message after the other on each.

What matters is to know whether a message went out. Before its text a server has nothing to deliver, so
whatever goes wrong until then is certain: not sent. From the final dot on only the server's answer tells;
without one nobody knows.

A mail names each of its notices by its id, and after it the salt of its content hash:
keccak256(salt ‖ subject ‖ "\\n\\n" ‖ text) is the hash on chain, lines ending in LF. So the mail proves
itself.
"""

import asyncio
import base64
import binascii
import contextlib
import re
import secrets
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, getaddresses
from functools import lru_cache
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
_LONGEST_LINE: Final = 78
_LANGUAGES: Final = {"zh": "zh-Hans"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TEXT_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class EmailCarrier:
    """Sends notices by e-mail. Not for several threads at once, nor inside a running event loop."""

    channel: Final = Channel.EMAIL

    def __init__(self, server: MailServer, *, timeout: float = TIMEOUT) -> None:
        self._server = server
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
        self._lines = [_Line(server, self._sender, timeout) for _ in range(server.connections)]
        self._heads = lru_cache(256)(self._head)

    def __repr__(self) -> str:
        return f"EmailCarrier({self._server.host}:{self._server.port})"

    # ------------------------------------------------------------------------------------------ the port

    @property
    def at_once(self) -> int:
        """Two on each connection, so that a quick one does not wait for the others; one on a single one."""
        return 2 * len(self._lines) if len(self._lines) > 1 else 1

    def ready(self) -> None:
        """Connect, where there is no connection that works.

        Raises: CarrierUnavailable.
        """
        try:
            self._run(self._lines[0].connected())
        except (SMTPException, OSError) as error:
            server = self._server
            raise CarrierUnavailable(
                f"the mail server {server.host}:{server.port} does not take mail ({_code(error)})",
                remedy="Check that it runs, and the settings DULY_SMTP_….",
            ) from None

    def send(self, message: Message | CodeMessage) -> Receipt:
        """Send one mail, at most once."""
        return self.send_all([message])[0]

    def send_all(self, messages: Sequence[Message | CodeMessage]) -> list[Receipt]:
        """Send mails, each at most once."""
        receipts: dict[int, Receipt] = {}
        mails: list[tuple[int, str, bytes]] = []
        for number, message in enumerate(messages):
            try:
                mails.append((number, *self._compose(message)))
            except (ValueError, IndexError):  # the parser's, of an empty address
                receipts[number] = Receipt(Result.REFUSED, "malformed")
        if mails:
            receipts |= self._run(self._send_all(mails))
        return [receipts[number] for number in range(len(messages))]

    async def _send_all(self, mails: Sequence[tuple[int, str, bytes]]) -> dict[int, Receipt]:
        left, receipts = iter(mails), dict[int, Receipt]()

        async def work(line: _Line) -> None:
            for number, recipient, data in left:
                receipts[number] = await line.send(recipient, data)

        lines = self._lines[: len(mails)]
        if len(lines) == 1:
            await work(lines[0])
        else:
            await asyncio.gather(*map(work, lines))
        return receipts

    def close(self) -> None:
        """Say goodbye to the server."""
        if self._runner is not None:
            for line in self._lines:
                with contextlib.suppress(SMTPException, OSError):
                    self._run(line.quit())
            self._runner.close()
            self._runner = None

    def _run(self, work: Coroutine[object, object, _T]) -> _T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

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
        proofs = message.proofs if isinstance(message, Message) else ()
        name = proofs[0].notice.hex()[:32] if proofs else secrets.token_hex(16)
        lines = [
            f"To: {recipient}",
            f"Date: {format_datetime(datetime.fromtimestamp(message.at, UTC))}",
            f"Message-ID: <{name}@{self._sender.domain}>",
        ]
        for proof in proofs:
            lines += [f"Duly-Notice: {proof.notice.hex()}", f"Duly-Salt: {proof.salt.hex()}"]
        encoding, body = _encoded(message.body)
        lines += [f"Content-Transfer-Encoding: {encoding}", "", ""]
        head = self._heads(message.subject, message.language, bool(proofs))
        return recipient.addr_spec, head + "\r\n".join(lines).encode("ascii") + body

    def _head(self, subject: str, language: str, of_notices: bool) -> bytes:
        """The headers that many mails have in common; to make them takes longer than all the rest."""
        mail = EmailMessage(policy=SMTP_POLICY)
        # A code's mail does not even name the sender: the display name may tell of a lender's business.
        nameless = Address(addr_spec=self._sender.addr_spec)
        mail["From"] = self._sender if of_notices else nameless
        mail["Subject"] = subject
        mail["Auto-Submitted"] = "auto-generated"
        if of_notices:
            # What the text offers too: to reply with this word.
            stop = f"<mailto:{quote(self._sender.addr_spec, safe='@')}?subject=STOP>"
            mail["List-Unsubscribe"] = stop
        mail["Content-Language"] = _LANGUAGES.get(language, language)
        mail["MIME-Version"] = "1.0"
        mail["Content-Type"] = 'text/plain; charset="utf-8"'
        return mail.as_bytes().removesuffix(b"\r\n")


class _Line:
    """A connection to the mail server, made when it is needed."""

    def __init__(self, server: MailServer, sender: Address, timeout: float) -> None:
        self._server = server
        self._sender = sender
        self._timeout = timeout
        self._client: aiosmtplib.SMTP | None = None

    async def connected(self) -> aiosmtplib.SMTP:
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

    async def send(self, recipient: str, data: bytes) -> Receipt:
        """Send one mail, at most once."""
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
                client = await self.connected()
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

    async def quit(self) -> None:
        """Say goodbye."""
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            await client.quit(timeout=2)

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _encoded(body: str) -> tuple[str, bytes]:
    """A text as it goes over the wire, and how that is called."""
    text = body.encode()
    lines = text.splitlines()
    if max(map(len, lines), default=0) <= _LONGEST_LINE:
        return ("7bit" if text.isascii() else "8bit"), b"\r\n".join(lines) + b"\r\n"
    text = b"\n".join(lines) + b"\n"
    if text.isascii():
        return "quoted-printable", binascii.b2a_qp(text).replace(b"\n", b"\r\n")
    return "base64", base64.encodebytes(text.replace(b"\n", b"\r\n")).replace(b"\n", b"\r\n")


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
