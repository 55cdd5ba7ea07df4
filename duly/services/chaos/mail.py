"""A mail server in a process of its own, that does to its clients whatever mail servers do.

    with open_mail_server() as mail:
        mail.fault(Fault.CUT_AFTER_TEXT)
        mail.mails()

It keeps of each mail when it came and which notices it tells of, and nothing else. It can also kill a client
at a moment of the conversation, as a power cut would.

`main` is that process. It listens to lines of JSON, and answers each with one.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Fault(StrEnum):
    """What the server does to a client."""

    NONE = "none"
    AWAY = "away"
    """Nobody takes the connection."""
    BUSY = "busy"
    """It says 421, and hangs up."""
    LATER = "later"
    """It wants the recipient's mail at another time: 451."""
    LATER_AFTER_TEXT = "later_after_text"
    REFUSED = "refused"
    """It does not want the recipient's mail: 550."""
    REFUSED_AFTER_TEXT = "refused_after_text"
    SILENT = "silent"
    """It says nothing for a while, then hangs up."""
    SILENT_AFTER_TEXT = "silent_after_text"
    """The same, once it has the whole mail, which it keeps or not."""
    CUT_IN_TEXT = "cut_in_text"
    """It hangs up in the midst of the mail."""
    CUT_AFTER_TEXT = "cut_after_text"
    """It hangs up once it has the whole mail, which it keeps or not, before it says so."""


class Moment(StrEnum):
    """Of the conversation about a mail."""

    GREETED = "greeted"
    BEFORE_TEXT = "before_text"
    KEPT = "kept"
    """Before the client is told so."""
    ANSWERED = "answered"


class Mail(NamedTuple):
    """A mail that was kept: when, in seconds since the epoch, and of which notices it tells."""

    at: float
    notices: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MailServer:
    """The mail server's process, as seen from outside."""

    port: int
    _process: "subprocess.Popen[str]" = field(repr=False)

    def fault(self, *faults: Fault, share: float = 1.0, seconds: float = 1.0) -> None:
        """From now on meet each client, or such a share of them, with one of these. seconds: that it is
        silent for.
        """
        self._tell({"do": "fault", "faults": faults, "share": share, "seconds": seconds})

    def kill(self, process: int, moment: Moment, mails: int, delay: float) -> None:
        """Kill a client's process so many seconds after that moment of its so-manieth mail from now on."""
        self._tell({"do": "kill", "process": process, "moment": moment, "mails": mails, "delay": delay})

    def spare(self) -> None:
        """Kill nobody any more."""
        self._tell({"do": "spare"})

    def mails(self) -> list[Mail]:
        """All mail that was kept."""
        found = self._tell({"do": "mails"})
        return [Mail(at, tuple(bytes.fromhex(each) for each in notices)) for at, notices in found]

    def _tell(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@contextmanager
def open_mail_server(seed: int = 1) -> Iterator[MailServer]:
    """A mail server that ends with the block. seed: of what it leaves to chance."""
    command = [sys.executable, "-c", f"from {__name__} import main; main({seed})"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield MailServer(json.loads(process.stdout.readline()), process)
    finally:
        process.kill()
        process.communicate()


# ------------------------------------------------------------------------------------------- in there


@dataclass(slots=True)
class _Kill:
    process: int
    moment: Moment
    mails: int
    delay: float


_TEXT_ENDS: Final = b"\r\n.\r\n"
_HEADER: Final = b"\r\nDuly-Notice: "


class _Server:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.mails: list[tuple[float, list[str]]] = []
        self._faults: list[Fault] = [Fault.NONE]
        self._share = 1.0
        self.seconds = 1.0
        self._kill: _Kill | None = None
        self._listening: asyncio.Server | None = None
        self.port = 0
        self.sessions: set[_Session] = set()

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: _Session(self), "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def next_fault(self) -> Fault:
        return self.dice.choice(self._faults) if self.dice.random() < self._share else Fault.NONE

    def keep(self, text: bytes) -> None:
        head = b"\r\n" + text.partition(b"\r\n\r\n")[0]
        notices = [part.partition(b"\r\n")[0].strip().decode() for part in head.split(_HEADER)[1:]]
        self.mails.append((time.time(), notices))

    def reached(self, moment: Moment) -> None:
        kill = self._kill
        if kill is None or kill.moment is not moment:
            return
        kill.mails -= 1
        if kill.mails <= 0:
            self._kill = None
            if kill.delay <= 0:
                _kill(kill.process)
            else:
                asyncio.get_running_loop().call_later(kill.delay, _kill, kill.process)

    async def told(self, what: dict[str, Any]) -> Any:
        if what["do"] == "mails":
            return self.mails
        if what["do"] == "kill":
            moment = Moment(what["moment"])
            self._kill = _Kill(what["process"], moment, what["mails"], what["delay"])
        elif what["do"] == "spare":
            self._kill = None
        else:
            self._faults = [Fault(each) for each in what["faults"]]
            self._share, self.seconds = what["share"], what["seconds"]
            away = Fault.AWAY in self._faults
            if away and self._listening is not None:
                self._listening.close()
                self._listening = None
            for session in list(self.sessions):
                session.hang_up()
            if not away and self._listening is None:
                await self.listen()
        return None


class _Session(asyncio.Protocol):
    """As much SMTP as it takes."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._fault = Fault.NONE
        self._got, self._in_text = b"", False
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.sessions.add(self)
        self._fault = self._server.next_fault()
        if self._fault is Fault.BUSY:
            self._say("421 busy")
            transport.close()
        elif self._fault is Fault.SILENT:
            self._fall_silent()
        else:
            self._say("220 mail")

    def connection_lost(self, error: Exception | None) -> None:
        self._server.sessions.discard(self)

    def hang_up(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._got += data
        while not self._deaf:
            if self._in_text and self._fault is Fault.CUT_IN_TEXT and self._got:
                self._deaf = True
                self.hang_up()
                return
            text, end, rest = self._got.partition(_TEXT_ENDS if self._in_text else b"\r\n")
            if not end:
                return
            self._got = rest
            if self._in_text:
                self._in_text = False
                self._take(text)
            else:
                self._answer(text[:4].upper())

    def _answer(self, verb: bytes) -> None:
        if verb == b"QUIT":
            self._say("221 bye")
            self._transport.close()
        elif verb == b"MAIL":
            # What happens may differ from mail to mail on one connection.
            if self._fault is not Fault.SILENT:
                self._fault = self._server.next_fault()
            if self._fault is Fault.SILENT:
                self._fall_silent()
                return
            self._server.reached(Moment.GREETED)
            self._say("421 busy" if self._fault is Fault.BUSY else "250 fine")
            if self._fault is Fault.BUSY:
                self._transport.close()
        elif verb == b"RCPT" and self._fault in (Fault.LATER, Fault.REFUSED):
            self._say("451 later" if self._fault is Fault.LATER else "550 no")
        elif verb == b"DATA":
            self._server.reached(Moment.BEFORE_TEXT)
            self._in_text = True
            self._say("354 go on")
        else:
            self._say("250 fine")

    def _take(self, text: bytes) -> None:
        fault, server = self._fault, self._server
        if fault in (Fault.LATER_AFTER_TEXT, Fault.REFUSED_AFTER_TEXT):
            self._say("451 later" if fault is Fault.LATER_AFTER_TEXT else "554 no")
            return
        if fault in (Fault.SILENT_AFTER_TEXT, Fault.CUT_AFTER_TEXT):
            if server.dice.random() < 0.5:
                server.keep(text)
            if fault is Fault.CUT_AFTER_TEXT:
                self._deaf = True
                self.hang_up()
            else:
                self._fall_silent()
            return
        server.keep(text)
        server.reached(Moment.KEPT)
        self._say("250 kept")
        server.reached(Moment.ANSWERED)

    def _fall_silent(self) -> None:
        self._deaf = True
        asyncio.get_running_loop().call_later(self._server.seconds, self.hang_up)

    def _say(self, text: str) -> None:
        self._transport.write(text.encode() + b"\r\n")


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


async def _serve(seed: int) -> None:
    server = _Server(seed)
    await server.listen()
    print(server.port, flush=True)
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await server.told(json.loads(line))), flush=True)


def main(seed: int) -> None:
    """Be a mail server until standard input ends."""
    asyncio.run(_serve(seed))
