"""A platform to let faults loose on: a chain, contracts, a lender, borrowers, a mail server, and the service
in processes of its own, with whatever fails in between.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.context import ForkServerContext
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eth_account import Account

from duly.chain import networks
from duly.chain.clock import travel
from duly.chain.contracts import Call
from duly.chain.offers import SigningDomain, loan_id, sign_offer
from duly.chain.sender import Sender
from duly.chain.stage import Act, Stage
from duly.config import MailSecurity, Settings
from duly.config import MailServer as MailSettings
from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.terms import Terms
from duly.services import deploy
from duly.services.bench import anvil
from duly.services.chaos.mail import MailServer, open_mail_server
from duly.services.chaos.node import Node
from duly.services.policy import load_pack
from duly.services.render import templates_hash
from duly.services.verifying import verify_simulated
from duly.store.vault import MasterKey, Vault

if TYPE_CHECKING:
    from duly.bootstrap import Application

START: Final = 1_790_078_400
"""Noon UTC of a Tuesday: every contact window in UTC is open."""

KEPT_STATES: Final = 20_000
"""More blocks than any trial mines."""

Program = Callable[[], None]
"""Runs the command that `sys.argv` holds, as from a shell."""

_PACK: Final = "STRICT"
_LENDER, _SERVICER = 1, 2
_THURSDAY, _SUNDAY = 3, 6
"""Of the first day of the epoch, and of rest."""
_AT_ONCE: Final = 60
"""Acts in one block."""
_PRINCIPAL: Final = 1_000_000
_PRELOADED: Final = (
    "duly.interfaces.cli",
    "duly.interfaces.cli.run",
    "duly.interfaces.cli.deliver",
    "duly.bootstrap",
    "duly.channels.email",
    "duly.services.run",
    "duly.services.queue",
    "duly.services.serve",
    "duly.services.templates",
    "duly.store.outgoing",
    "psycopg",
    "structlog",
)
"""What every process of the service imports; done once, it is forked from there."""
_STOPS_WITHIN: Final = 45.0
_ENDS_WITHIN: Final = 120.0
_LINES: Final = 6

RUN: Final = ("run", "--interval", "0.05", "--json")
ONCE: Final = ("run", "--once", "--json")

_AS_SET: Final[Mapping[str, str]] = {}


class ServiceFailed(DulyError):
    """A command of the service did not do what it had to."""


class Skewed:
    """This machine's clock, as the service's processes see it."""

    def __init__(self, context: ForkServerContext) -> None:
        self.offset: Synchronized[float] = context.Value("d", 0.0)

    def jump(self, seconds: float) -> None:
        """Put their clocks forward, or back."""
        with self.offset.get_lock():
            self.offset.value += seconds


class Processes:
    """Starts processes of the service, each forked from one in which everything is imported already.

    program: runs a command. application: what wires the service's parts together.
    """

    def __init__(self, program: Program, application: "type[Application]") -> None:
        self._program = program
        self.application = application
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOADED))
        self._lock = threading.Lock()

    def clock(self) -> "Skewed":
        """A clock for processes that see the same time."""
        return Skewed(self._context)

    def start(
        self, arguments: Sequence[str], environment: dict[str, str], folder: Path, said: Path, clock: "Skewed"
    ) -> Any:
        """Run a `duly` command, which says into a pipe what it says."""
        handed = (self._program, list(arguments), environment, folder, said, clock.offset)
        process = self._context.Process(target=_enter, args=handed, daemon=True)
        with self._lock:
            process.start()
        return process


def _enter(
    program: Program,
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
    said: Path,
    offset: "Synchronized[float]",
) -> None:
    """What a process does from its first instruction on."""
    for name in [name for name in os.environ if name.startswith("DULY_")]:
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(folder)
    out = os.open(said, os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    # Python's own streams remember what their files were before: one that could be sought in, perhaps.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    faulthandler.register(signal.SIGUSR1, file=2)
    real = time.time
    time.time = lambda: real() + offset.value
    sys.argv = ["duly", *arguments]
    program()


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the service."""

    _process: Any
    arguments: tuple[str, ...]
    log: Path

    @property
    def id(self) -> int:
        return int(self._process.pid)

    @property
    def running(self) -> bool:
        return bool(self._process.is_alive())

    def wait(self, seconds: float) -> int | None:
        """Its exit code, negative for a signal; None where it is not over in time."""
        self._process.join(seconds)
        code: int | None = self._process.exitcode
        return code

    def kill(self) -> None:
        """As a power cut would. Returns when it is dead."""
        self._process.kill()
        self._process.join(_STOPS_WITHIN)

    def tell_where(self) -> str:
        """What each of its threads is at."""
        os.kill(self.id, signal.SIGUSR1)
        time.sleep(1)
        return last_lines(self.log, 200)

    def stop(self) -> None:
        """Ask it to finish. Raises: ServiceFailed, when it does not."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.id, signal.SIGTERM)
        code = self.wait(_STOPS_WITHIN)
        if code is None:
            self.kill()
            raise ServiceFailed(f"{self} did not stop within {_STOPS_WITHIN:.0f} seconds")
        if code:
            raise ServiceFailed(f"{self} ended with exit code {code}", wanted="0", remedy=self.last_words())

    def last_words(self) -> str:
        """The end of what it said."""
        return last_lines(self.log)

    def __str__(self) -> str:
        return "duly " + " ".join(self.arguments)


def _keep(said: Path, log: Path) -> None:
    """Write what comes out of a pipe to a file: a process that cannot write files can still speak."""
    # Open for both, so that it does not end when a process does.
    with open(said, "r+b", buffering=0) as pipe, open(log, "ab", buffering=0) as file:
        while words := pipe.read(65_536):
            file.write(words)


def last_lines(log: Path, count: int = _LINES) -> str:
    """The end of a log."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-count:])


@dataclass(frozen=True, slots=True)
class Borrower:
    """Somebody with a loan, who consented to e-mail."""

    address: str
    loan: bytes


class Scene:
    """All of it. The servicer's key serves; the wall clock is the machine's, the chain's time goes on by a
    second with each block.

    node, mail, clock: what fails. stage: the chain itself, which tells the truth. database: its URL.
    """

    def __init__(
        self,
        url: str,
        node: Node,
        mail: MailServer,
        folder: Path,
        processes: Processes,
        dice: random.Random,
        database: str | None = None,
    ) -> None:
        self.url, self.node, self.mail, self.folder, self.dice = url, node, mail, folder, dice
        self.processes, self.clock = processes, processes.clock()
        self.stage = Stage(networks.connect(url))
        self.w3 = self.stage.w3
        key = folder / "master.key"
        MasterKey.generate().create_file(key)
        self.settings = Settings(
            rpc=url,
            deployments=folder / "deployments",
            database=database or f"sqlite:///{folder / 'duly.db'}",
            vault=f"sqlite:///{folder / 'vault.db'}",
            master_key_file=key,
            mail=MailSettings(
                host="127.0.0.1",
                port=mail.port,
                security=MailSecurity.NONE,
                sender="Duly <notices@lender.example>",
            ),
        )
        self._lender, self._servicer = (
            networks.development_account(self.w3, number) for number in (_LENDER, _SERVICER)
        )
        self.lender, self.server = self._lender.address.lower(), self._servicer.address.lower()
        deployer = Sender(self.w3, networks.development_account(self.w3, 0))
        wish = deploy.Wish(load_pack(_PACK), templates_hash(), None, None)
        deploy.deploy(deployer, wish, self.settings.deployments)
        self.deployment, self.contracts = self.app.deployment, self.app.contracts
        ledger, currency = self.contracts.ledger, self.contracts.currency
        self.stage.play(
            [
                Act(self.lender, call)
                for call in (
                    ledger.appoint_servicer(self.server),
                    currency.mint(self.lender, 10**17),
                    currency.approve(ledger.address, 2**255),
                )
            ]
        )
        self.borrowers: list[Borrower] = []
        self._log = folder / "service.log"
        self._said = folder / "said"
        os.mkfifo(self._said)
        threading.Thread(target=_keep, args=(self._said, self._log), daemon=True).start()
        self._count = 0

    # ----------------------------------------------------------------------------------- what people do

    def lend(self, count: int) -> list[Borrower]:
        """Loans to new borrowers, each with an address in the vault. Not while the service runs."""
        contracts, acts, found = self.contracts, list[Act](), list[Borrower]()
        domain = SigningDomain(self.app.chain_id, contracts.ledger.address)
        today = calendar.local_day(self.stage.now + 3600, 0)
        grace = load_pack(_PACK).lending_limits.min_grace_days
        with Vault.open(self.settings.vault, self._key) as vault:
            for number in range(self._count + 1, self._count + count + 1):
                address = Account.from_key((0xB0 << 200 | number).to_bytes(32, "big")).address.lower()
                self.stage.fund(address)
                terms = Terms(
                    lender=self.lender,
                    borrower=address,
                    principal=_PRINCIPAL,
                    rate=112_200,
                    late_fee=100,
                    instalments=12,
                    first_due=calendar.add_months(today, 1),
                    grace_days=grace,
                    policy=1,
                    expires=2**40 - 1,
                    salt=number.to_bytes(32, "big"),
                )
                opening = contracts.ledger.open(terms, sign_offer(self._lender, terms, domain))
                found.append(Borrower(address, loan_id(terms, domain)))
                acts.append(Act(address, opening))
            who = [(each.address, Channel.EMAIL) for each in found]
            vault.add_all(
                (*one, f"borrower-{number}@example.org") for number, one in enumerate(who, self._count + 1)
            )
            commitments = verify_simulated(vault, self.app.chain_id, who)
        by_address = {each.borrower.lower(): each.hash for each in commitments}
        for one in found:
            consents = contracts.consents
            register = consents.register(Channel.EMAIL, by_address[one.address], 0, 0)
            acts += [Act(one.address, register), Act(one.address, consents.grant(Channel.EMAIL))]
        for start in range(0, len(acts), _AT_ONCE):
            for played in self.stage.play(acts[start : start + _AT_ONCE]):
                if not played.done:
                    raise self.stage.why_refused(played)
        self._count += count
        self.borrowers += found
        return found

    def pay(self, count: int = 1, among: Sequence[Borrower] | None = None) -> list[tuple[Borrower, bytes]]:
        """Payments on loans of different borrowers, each in a transaction of its own; with their hashes."""
        chosen = self.dice.sample(list(among or self.borrowers), count)
        return [
            (one, self.act(self.contracts.ledger.repay(one.loan, self.dice.randrange(1, 50))))
            for one in chosen
        ]

    def act(self, call: Call, sender: str | None = None) -> bytes:
        """Send a transaction, by the lender unless somebody else is named; its hash."""
        transaction = {
            "from": sender or self.lender,
            "to": call.to,
            "data": "0x" + call.data.hex(),
            "gas": hex(500_000),
        }
        return bytes.fromhex(self.stage.ask("eth_sendTransaction", transaction)[2:])

    def pass_time(self, seconds: int) -> None:
        """Put the chain's time forward."""
        travel(self.w3, self.stage.now + seconds)

    def next_noon(self) -> None:
        """Put the chain's time forward to noon of the next day that is no Sunday."""
        day = self.stage.now // calendar.DAY + 1
        while (day + _THURSDAY) % 7 == _SUNDAY:
            day += 1
        travel(self.w3, day * calendar.DAY + 12 * 3600)

    # ----------------------------------------------------------------------------------- the service

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the service, as an operator sets them. Its node is the one that fails."""
        settings, mail = self.settings, self.settings.mail
        assert mail is not None
        return {
            "DULY_RPC": self.node.url,
            "DULY_DEPLOYMENTS": str(settings.deployments),
            "DULY_DATABASE": settings.database,
            "DULY_VAULT": settings.vault,
            "DULY_MASTER_KEY_FILE": str(settings.master_key_file),
            "DULY_PRIVATE_KEY": self._servicer.key.hex(),
            "DULY_SMTP_HOST": mail.host,
            "DULY_SMTP_PORT": str(mail.port),
            "DULY_SMTP_TLS": "none",
            "DULY_SMTP_SENDER": mail.sender,
        }

    def start(self, *arguments: str, environment: Mapping[str, str] = _AS_SET) -> Process:
        """Start a `duly` command, by default the service. environment: settings that differ."""
        mine = self.environment | dict(environment)
        arguments = arguments or RUN
        process = self.processes.start(arguments, mine, self.folder, self._said, self.clock)
        return Process(process, arguments, self._log)

    @contextmanager
    def running(self, *arguments: str, environment: Mapping[str, str] = _AS_SET) -> Iterator[Process]:
        """The service, for the length of the block. Raises: ServiceFailed, where it does not end well."""
        process = self.start(*arguments, environment=environment)
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        if not process.running:
            raise ServiceFailed(f"{process} ended by itself", remedy=process.last_words())
        process.stop()

    def once(
        self,
        *arguments: str,
        environment: Mapping[str, str] = _AS_SET,
        allowed: Sequence[int] = (0,),
    ) -> None:
        """Run a command to its end. Raises: ServiceFailed, when its exit code is none of those allowed."""
        process = self.start(*arguments, environment=environment)
        code = process.wait(_ENDS_WITHIN)
        if code is None:
            where = process.tell_where()
            process.kill()
            raise ServiceFailed(f"{process} did not end within {_ENDS_WITHIN:.0f} seconds", remedy=where)
        if code not in allowed:
            raise ServiceFailed(f"{process} ended with exit code {code}", remedy=process.last_words())

    def last_words(self) -> str:
        """The end of what the service said."""
        return last_lines(self._log)

    @cached_property
    def app(self) -> "Application":
        """The same service's parts in this process, to look at; its node tells the truth."""
        return self.processes.application(self.settings, w3=self.stage.w3, account=self._servicer)

    @cached_property
    def _key(self) -> MasterKey:
        assert self.settings.master_key_file is not None
        return MasterKey.from_file(self.settings.master_key_file)

    def close(self) -> None:
        """Let go of what was opened."""
        self.app.close()
        self.stage.close()


@contextmanager
def open_scene(
    processes: Processes, folder: Path, seed: int, *, database: str | None = None, options: Sequence[str] = ()
) -> Iterator[Scene]:
    """A scene of its own, that ends with the block. options: of its Anvil."""
    with ExitStack() as stack:
        # Past some 1,100 blocks Anvil loses its state on a reorganisation, unless it keeps it in memory.
        url = stack.enter_context(
            anvil("--timestamp", str(START), "--prune-history", str(KEPT_STATES), *options)
        )
        node = stack.enter_context(Node(url))
        mail = stack.enter_context(open_mail_server(seed))
        scene = Scene(url, node, mail, folder, processes, random.Random(seed), database)
        stack.callback(scene.close)
        yield scene
