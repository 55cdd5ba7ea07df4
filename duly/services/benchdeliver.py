"""How fast notices are delivered, against a program that does nothing but send the same mails.

The notices are real: loans, policy, consent and events in the read model, words that hash to what the events
say, addresses in an encrypted vault, claims in the database, the queue between. Only the chain is not there:
its answers just before the send are made up in the worker, as its node and not the worker would be measured.
The mail server is a process of its own, which takes everything and keeps nothing.

`python -m duly.services.benchdeliver sink|worker`: those other processes.
"""

import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, ClassVar, Final

import aiosmtplib
from sqlalchemy import select

from duly.chain.contracts import Standing
from duly.channels.email import EmailCarrier
from duly.config import MailSecurity, MailServer
from duly.domain.consent import Channel, Profile
from duly.domain.errors import DulyError
from duly.domain.events import Block, ContactRegistered, Logged, NoticeServed, Repaid
from duly.domain.notice import Decision, Kind, Notice, Refusal
from duly.services.benchaudit import history
from duly.services.deliver import Deliverer
from duly.services.queue import Queue, Worker
from duly.services.render import Text
from duly.services.serve import salt_purpose
from duly.store import schema
from duly.store.database import reading
from duly.store.leases import Leases
from duly.store.notices import Content, NoticeStore, Told
from duly.store.readmodel import Identity, ReadModel
from duly.store.vault import MasterKey, Vault

CONNECTIONS: Final = 4

Progress = Callable[[str], None]

_SUBJECT: Final = "Your instalment is due today"
_BODY: Final = "\n".join(f"Line {number} of what a borrower is told, in plain words." for number in range(30))
_PROFILE: Final = Profile(offset=-20, other_offset=-16, registered=1, consented=1)
_LONGEST: Final = 600.0


class BenchFailed(DulyError):
    """Not every notice arrived once."""


LABELS: Final = {
    ("", 0): "aiosmtplib alone",
    ("sqlite", 1): "SQLite, one worker",
    ("postgresql", 1): "PostgreSQL, one worker",
    ("postgresql", 2): "PostgreSQL, two workers",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """So many workers on a database delivered so many mails a second; no worker is aiosmtplib alone."""

    database: str
    workers: int
    per_second: float


@dataclass(frozen=True, slots=True)
class DeliverBench:
    """Mails a second, each worker over so many connections. delay: seconds that the mail server takes for
    each mail.
    """

    notices: int
    connections: int
    delay: float
    runs: int
    machine: str
    cores: int
    figures: tuple[Figure, ...]

    def of(self, database: str, workers: int) -> float | None:
        """The rate of so many workers on a database, if it was measured."""
        found = [each for each in self.figures if (each.database, each.workers) == (database, workers)]
        return found[0].per_second if found else None

    def ratio(self, one: tuple[str, int], other: tuple[str, int]) -> float | None:
        """The first against the second; None where one of them was not measured."""
        rates = self.of(*one), self.of(*other)
        return rates[0] / rates[1] if rates[0] and rates[1] else None

    @property
    def ratios(self) -> dict[str, float | None]:
        """What was measured against what."""
        return {
            "sqlite_to_alone": self.ratio(("sqlite", 1), ("", 0)),
            "postgresql_to_alone": self.ratio(("postgresql", 1), ("", 0)),
            "two_workers_to_one": self.ratio(("postgresql", 2), ("postgresql", 1)),
        }

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "notices": self.notices,
            "connections": self.connections,
            "delay": self.delay,
            "runs": self.runs,
            "machine": self.machine,
            "cores": self.cores,
            "chain": "answers made up in the worker",
            "per_second": {
                LABELS[each.database, each.workers]: round(each.per_second) for each in self.figures
            },
            **{name: ratio and round(ratio, 2) for name, ratio in self.ratios.items()},
        }


def bench_deliver(
    notices: int,
    connections: int = CONNECTIONS,
    delay: float = 0.0,
    postgresql: str | None = None,
    runs: int = 2,
    told: Progress = lambda text: None,
) -> DeliverBench:
    """Measure each way in turn, several times; the best counts, as what else the machine does only ever slows
    one down.

    postgresql: address of a database for it alone, of which everything is deleted; None leaves it out.

    Raises: BenchFailed.
    """
    best: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as name, open_sink(delay) as sink:
        told("making up borrowers")
        scene = Scene(Path(name), notices)
        for run in range(runs):
            for (database, workers), label in LABELS.items():
                if database == "postgresql" and not postgresql:
                    continue
                told(f"{label}, {run + 1} of {runs}")
                if not workers:
                    rate = _alone(sink, notices, connections)
                else:
                    url = postgresql if database == "postgresql" and postgresql else scene.sqlite
                    rate = _delivered(scene, url, workers, connections, sink)
                best[database, workers] = max(best.get((database, workers), 0.0), rate)
    machine = f"{platform.machine()} {platform.system()}"
    figures = tuple(Figure(database, workers, rate) for (database, workers), rate in best.items())
    return DeliverBench(notices, connections, delay, runs, machine, os.cpu_count() or 1, figures)


# ----------------------------------------------------------------------------------------------- the scene


class Scene:
    """Borrowers with loans, addresses and notices, and what fills databases with them."""

    def __init__(self, folder: Path, notices: int) -> None:
        self.notices = notices
        self.sqlite = f"sqlite:///{folder / 'duly.db'}"
        key = MasterKey.generate()
        self.key_file = folder / "master.key"
        key.create_file(self.key_file)
        self._vault = folder / "vault.db"
        self._vaults = 0
        events = [
            each
            for each in history(notices, 1)
            if not isinstance(each.event, Repaid)
            and not (isinstance(each.event, NoticeServed) and each.event.kind is not Kind.DUE_TODAY)
        ]
        borrowers = [each.event.borrower for each in events if isinstance(each.event, NoticeServed)]
        self.contents: list[Content] = []
        self.logged: list[Logged] = []
        with Vault.open(f"sqlite:///{self._vault}", key) as vault:
            vault.add_all(
                (who, Channel.EMAIL, f"b{number}@example.org") for number, who in enumerate(borrowers)
            )
            vault.verify_simulated((who, Channel.EMAIL) for who in borrowers)
            served = {e.event.borrower: e.event for e in events if isinstance(e.event, NoticeServed)}
            kept = vault.kept_all([(who, Channel.EMAIL, salt_purpose(served[who].id)) for who in borrowers])
        found = dict(zip(borrowers, kept, strict=True))
        text = Text(_SUBJECT, _BODY)
        at = 0
        for item in events:
            event = item.event
            if isinstance(event, ContactRegistered):
                contact = found[event.borrower]
                assert contact is not None
                event = replace(event, commitment=contact.commitment)
            elif isinstance(event, NoticeServed):
                contact = found[event.borrower]
                assert contact is not None
                content_hash = text.content_hash(contact.salt)
                event = replace(event, content_hash=content_hash)
                told = Told(event.id, event.loan)
                self.contents.append(
                    Content(content_hash, told, (told,), "en", _SUBJECT, _BODY, item.timestamp)
                )
                self.server, at = event.server, item.timestamp
            self.logged.append(item._replace(event=event))
        self.now = at + 60

    def vault(self) -> str:
        """A vault that gave out no address yet, for one database: from a vault each notice is sent once."""
        self._vaults += 1
        copy = self._vault.with_stem(f"vault-{self._vaults}")
        shutil.copy(self._vault, copy)
        return f"sqlite:///{copy}"

    def fill(self, url: str) -> tuple[Queue, ReadModel, Callable[[], None]]:
        """A database with everything but the notices; what serves them all at once."""
        model = ReadModel.open(url)
        before = Block(0, bytes(32), 0)
        model.start(Identity(1, bytes(32), "0x" + "00" * 20, 1), before)
        store = NoticeStore(model.engine, worker="bench:0:0")
        queue = Queue(model.engine, store, {})
        others = [each for each in self.logged if not isinstance(each.event, NoticeServed)]
        served = [each for each in self.logged if isinstance(each.event, NoticeServed)]
        store.keep(self.contents)
        reached = Block(others[-1].block_number, others[-1].block_hash, others[-1].timestamp)
        model.apply(others, before, reached)
        model.on_served = queue.on_served
        last = Block(served[-1].block_number, served[-1].block_hash, served[-1].timestamp)
        return queue, model, lambda: model.apply(served, reached, last)


class Chain:
    """Says of every notice that it stands, and of every borrower the commitment that the events told of."""

    def __init__(self, model: ReadModel) -> None:
        table = schema.commitments.c
        with reading(model.engine) as connection:
            rows = connection.execute(select(table.borrower, table.commitment))
            self._commitments = {row.borrower: row.commitment for row in rows}

    def standings(self, questions: Sequence[tuple[Notice, str]], server: str) -> list[Standing]:
        """What a chain would say."""
        fine = Decision(Refusal.NONE)
        return [Standing(fine, self._commitments[who], _PROFILE) for _, who in questions]


@dataclass(frozen=True, slots=True)
class Clock:
    time: int

    def now(self) -> int:
        """Always the same."""
        return self.time


def _delivered(scene: Scene, url: str, workers: int, connections: int, sink: "Sink") -> float:
    _empty(url)
    queue, model, serve = scene.fill(url)
    setting = {
        "url": url,
        "vault": scene.vault(),
        "key": str(scene.key_file),
        "server": scene.server,
        "now": scene.now,
        "port": sink.port,
        "connections": connections,
    }
    command = [sys.executable, "-m", "duly.services.benchdeliver", "worker", json.dumps(setting)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise BenchFailed("a worker did not start")
        sink.ask("reset")
        serve()
        begun = time.time()
        while sink.ask("count")["mails"] < scene.notices and time.time() - begun < _LONGEST:
            time.sleep(0.1)
        # A duplicate would come right after.
        time.sleep(0.5)
        counts = sink.ask("count")
        if (counts["mails"], counts["distinct"]) != (scene.notices, scene.notices):
            raise BenchFailed(
                f"{counts['mails']} mails of {counts['distinct']} notices, of {scene.notices}, arrived"
            )
        return scene.notices / float(counts["last"] - begun)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)
        queue.close()
        model.engine.dispose()


def _empty(url: str) -> None:
    if url.startswith("sqlite"):
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)
        return
    from duly.store.database import open_engine, writing

    engine = open_engine(url)
    with writing(engine) as connection:
        for name in ("public", "dbos"):
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


def _worker(setting: dict[str, Any]) -> None:
    """Deliver until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    model = ReadModel.open(setting["url"])
    model.find_cursor()
    store = NoticeStore(model.engine)
    vault = Vault.open(setting["vault"], MasterKey.from_file(Path(setting["key"])))
    server = _mail_server(setting["port"], setting["connections"])
    deliverer = Deliverer(
        server=setting["server"],
        contracts=Chain(model),  # type: ignore[arg-type]
        read_model=model,
        store=store,
        vault=vault,
        carriers={Channel.EMAIL: EmailCarrier(server)},
        clock=Clock(setting["now"]),
    )
    leases = Leases(model.engine, store.worker)
    worker = Worker(
        Queue(model.engine, store, {}), deliverer, leases, lambda error: print(error, file=sys.stderr)
    )
    worker.start()
    # DBOS looks for queues once a second.
    time.sleep(1.5)
    print("ready", flush=True)
    stop.wait()
    worker.stop()
    leases.give_up()


def _mail_server(port: int, connections: int) -> MailServer:
    return MailServer(
        host="127.0.0.1",
        port=port,
        security=MailSecurity.NONE,
        sender="Duly <notices@lender.example>",
        connections=connections,
    )


# ----------------------------------------------------------------------------------------------- alone


def _alone(sink: "Sink", mails: int, connections: int) -> float:
    """The rate of a program that makes the same mails and sends them with aiosmtplib."""

    async def run() -> float:
        left = iter(range(mails))

        async def work() -> None:
            client = aiosmtplib.SMTP(
                hostname="127.0.0.1",
                port=sink.port,
                use_tls=False,
                start_tls=False,
                local_hostname="example.org",
            )
            await client.connect()
            for number in left:
                mail = EmailMessage()
                mail["From"] = "Duly <notices@lender.example>"
                mail["To"] = f"b{number}@example.org"
                mail["Subject"] = _SUBJECT
                mail["Message-ID"] = f"<{number}@lender.example>"
                mail["Auto-Submitted"] = "auto-generated"
                mail.set_content(_BODY)
                await client.send_message(mail)
            await client.quit()

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return mails / (time.perf_counter() - begun)

    return asyncio.run(run())


# ----------------------------------------------------------------------------------------------- the sink


@dataclass(frozen=True, slots=True)
class Sink:
    """The mail server's process, as seen from outside."""

    port: int
    process: "subprocess.Popen[str]"

    def ask(self, what: str) -> Any:
        """Tell it to count anew (reset), or ask what came since (count)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@contextmanager
def open_sink(delay: float) -> Iterator[Sink]:
    command = [sys.executable, "-m", "duly.services.benchdeliver", "sink", str(delay)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Sink(json.loads(process.stdout.readline()), process)
    finally:
        process.kill()
        process.communicate()


class _Session(asyncio.Protocol):
    """As much SMTP as it takes: every mail is accepted and counted."""

    mails = 0
    distinct: ClassVar[set[bytes]] = set()
    last = 0.0
    delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._got, self._in_text = b"", False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._got += data
        while True:
            text, end, rest = self._got.partition(b"\r\n.\r\n" if self._in_text else b"\r\n")
            if not end:
                return
            self._got = rest
            if self._in_text:
                self._in_text = False
                if self.delay:
                    asyncio.get_running_loop().call_later(self.delay, self._take, text)
                else:
                    self._take(text)
                continue
            verb = text[:4].upper()
            self._in_text = verb == b"DATA"
            answer = b"354 go" if self._in_text else b"221 bye" if verb == b"QUIT" else b"250 fine"
            self._transport.write(answer + b"\r\n")
            if verb == b"QUIT":
                self._transport.close()

    def _take(self, text: bytes) -> None:
        _Session.mails += 1
        _Session.distinct.add(text.partition(b"Message-ID: ")[2][:40])
        _Session.last = time.time()
        self._transport.write(b"250 taken\r\n")


async def _serve_sink(delay: float) -> None:
    _Session.delay = delay
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()

    def asked() -> None:
        line = sys.stdin.readline()
        if not line:
            ended.set()
            return
        if line.strip() == "reset":
            _Session.mails = 0
            _Session.distinct.clear()
        told = {"mails": _Session.mails, "distinct": len(_Session.distinct), "last": _Session.last}
        print(json.dumps(told), flush=True)

    loop.add_reader(sys.stdin, asked)
    await ended.wait()


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        asyncio.run(_serve_sink(float(sys.argv[2])))
    else:
        _worker(json.loads(sys.argv[2]))
