"""A lender with borrowers on a local chain, and the service as its operator sets it up."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from eth_account import Account
from web3.types import RPCEndpoint

from duly.bootstrap import Application
from duly.chain import networks
from duly.chain.contracts import Call
from duly.chain.offers import SigningDomain, loan_id, sign_offer
from duly.chain.sender import Receipt, Sender, each
from duly.config import MailSecurity, MailServer, Settings
from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.terms import Terms
from duly.services import deploy, importing, verifying
from duly.services.deploy import Wish
from duly.services.policy import load_pack
from duly.services.render import templates_hash
from duly.store.vault import MasterKey
from scripts.anvil import free_port
from scripts.inbox import Inbox, code_in

ROOT = Path(__file__).resolve().parents[2]
START = 1_790_078_400  # noon UTC of a Tuesday
WORKER = Path(__file__).with_name("worker.py")


class Mailbox:
    """An inbox in a process of its own, which can be closed and opened again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    def open(self) -> None:
        command = [sys.executable, "-m", "scripts.inbox", "--directory", str(self.directory)]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(f"Keeping mail for 127.0.0.1:{self.port} ")

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=20)
            assert self._process.returncode == 0
            self._process = None

    def mails(self) -> list[EmailMessage]:
        """The mails with notices."""
        return [mail for mail in Inbox(self.directory).mails() if "Duly-Notice" in mail]

    def code(self, address: str) -> str:
        """The code that came to an address, as its owner reads it."""
        return code_in(Inbox(self.directory).mails(), address)

    def count(self) -> int:
        return len(Inbox(self.directory).files())

    def notices(self) -> "Counter[bytes]":
        """How many mails came for each notice."""
        told = (notice for mail in self.mails() for notice in mail.get_all("Duly-Notice"))
        return Counter(map(bytes.fromhex, told))


class Stage:
    """The deployment, its lender, and the service's settings. The servicer serves."""

    def __init__(self, url: str, directory: Path, mailbox: Mailbox) -> None:
        self.url, self.directory, self.mailbox = url, directory, mailbox
        key = directory / "master.key"
        MasterKey.generate().create_file(key)
        self.settings = Settings(
            rpc=url,
            deployments=directory / "deployments",
            database=f"sqlite:///{directory / 'duly.db'}",
            vault=f"sqlite:///{directory / 'vault.db'}",
            master_key_file=key,
            mail=MailServer(
                host="127.0.0.1",
                port=mailbox.port,
                security=MailSecurity.NONE,
                sender="Duly <notices@lender.example>",
                # Then a worker is at one message at a time, and it is known which one.
                connections=1,
            ),
        )
        self.w3 = networks.connect(url)
        self.deployer, self.lender, self.servicer = (
            Sender(self.w3, networks.development_account(self.w3, number)) for number in range(3)
        )
        wish = Wish(load_pack("STRICT"), templates_hash(), None, None)
        deploy.deploy(self.deployer, wish, self.settings.deployments)
        self.app = Application(self.settings, w3=self.w3, account=self.servicer.account)
        self.contracts = self.app.contracts
        ledger = self.contracts.ledger
        for call in (
            ledger.appoint_servicer(self.servicer.address),
            self.contracts.currency.mint(self.lender.address, 10**15),
            self.contracts.currency.approve(ledger.address, 2**255),
        ):
            self.lender.send(call)
        self._loans = 0

    def lend(
        self, count: int, *, language: str = "en", reachable: bool = True, mail: str = ""
    ) -> "list[Borrower]":
        """Loans to new borrowers, who consent to e-mail. The gate may be asked to tell them so at once.

        mail: where they all are reached, being one person; by default each somewhere else.
        """
        found = [Borrower(self, self._loans + number, mail) for number in range(1, count + 1)]
        self._loans += count
        importing.give_gas(self.deployer, [one.sender.address for one in found])
        for one in found:
            one.open(language, reachable)
        return found

    def lend_again(self, borrower: "Borrower") -> bytes:
        """Another loan to the same address; its id."""
        self._loans += 1
        terms, call = borrower.borrow(self._loans)
        borrower.sender.send(call, gas=600_000)
        return loan_id(terms, SigningDomain(self.app.chain_id, self.contracts.ledger.address))

    @property
    def environment(self) -> dict[str, str]:
        """The same settings, as an operator sets them."""
        settings, mail = self.settings, self.settings.mail
        assert mail is not None
        mine = {
            "DULY_RPC": self.url,
            "DULY_DEPLOYMENTS": str(settings.deployments),
            "DULY_DATABASE": settings.database,
            "DULY_VAULT": settings.vault,
            "DULY_MASTER_KEY_FILE": str(settings.master_key_file),
            "DULY_PRIVATE_KEY": self.servicer.account.key.hex(),
            "DULY_SMTP_HOST": mail.host,
            "DULY_SMTP_PORT": str(mail.port),
            "DULY_SMTP_TLS": "none",
            "DULY_SMTP_SENDER": mail.sender,
            "DULY_SMTP_CONNECTIONS": str(mail.connections),
            "PYTHONPATH": str(ROOT),
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("DULY_")}
        return others | mine

    def start(self, *arguments: str, given: bool = False) -> "subprocess.Popen[str]":
        """A `duly` command, in a process of its own. given: something is piped in."""
        program = [sys.executable, "-c", "from duly.interfaces.cli import main; main()"]
        return self._start([*program, *arguments], given=given)

    def start_worker(self, *arguments: str) -> "subprocess.Popen[str]":
        """The worker of `worker.py`."""
        return self._start([sys.executable, str(WORKER), *arguments])

    def _start(self, command: list[str], *, given: bool = False) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.PIPE if given else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def duly(self, *arguments: str, code: int = 0) -> Any:
        """What a `duly` command prints as JSON."""
        process = self.start(*arguments, "--json")
        out, error = process.communicate(timeout=120)
        assert process.returncode == code, (out, error)
        return json.loads(out) if out else error

    def rpc(self, method: str, *params: object) -> Any:
        answer = self.w3.provider.make_request(RPCEndpoint(method), list(params))
        assert "error" not in answer, answer
        return answer["result"]


class Borrower:
    """Somebody with a loan."""

    def __init__(self, stage: Stage, number: int, address: str = "") -> None:
        self.stage, self.number = stage, number
        account = Account.from_key((0xB0 << 200 | number).to_bytes(32, "big"))
        self.sender = stage.deployer.sibling(account)
        self.address = address or f"borrower-{number}@example.org"
        self.loan = b""

    def borrow(self, number: int) -> tuple[Terms, Call]:
        """The terms of a loan that begins now, and how it is opened."""
        stage, contracts = self.stage, self.stage.contracts
        today = calendar.local_day(stage.app.clock.now() + 3600, 0)
        terms = Terms(
            lender=stage.lender.address,
            borrower=self.sender.address,
            principal=100_000,
            rate=112_200,
            late_fee=100,
            instalments=12,
            first_due=calendar.add_months(today, 1),
            grace_days=load_pack("STRICT").lending_limits.min_grace_days,
            policy=1,
            expires=2**40 - 1,
            salt=number.to_bytes(32, "big"),
        )
        domain = SigningDomain(stage.app.chain_id, contracts.ledger.address)
        signature = sign_offer(stage.lender.account, terms, domain)
        return terms, contracts.ledger.open(terms, signature)

    def open(self, language: str, reachable: bool) -> None:
        stage, contracts = self.stage, self.stage.contracts
        terms, opening = self.borrow(self.number)
        calls = [opening]
        if reachable:
            vault = stage.app.vault
            vault.add(self.sender.address, Channel.EMAIL, self.address, language=language)
            verifying.send_code(vault, stage.app.carriers, self.sender.address, Channel.EMAIL)
            code = stage.mailbox.code(self.address)
            kept = vault.check_code(self.sender.address, Channel.EMAIL, code)
            calls += [
                contracts.consents.register(Channel.EMAIL, kept.hash, 0, 0),
                contracts.consents.grant(Channel.EMAIL),
            ]
        outcomes = list(each(self.sender.send_many(calls, gas=600_000)))
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        self.loan = loan_id(terms, SigningDomain(stage.app.chain_id, contracts.ledger.address))


class DeadlyInbox(Inbox):
    """Kills, as a power cut would, who hands mail over: at a random moment of the first few.

    Whoever comes to the last of them waits for this very process: however quick it is, it gets no further.
    """

    MOST = 6
    """Mails that a victim begins to hand over, at most."""

    def __init__(self, mailbox: Mailbox, dice: random.Random) -> None:
        super().__init__(mailbox.directory, port=mailbox.port)
        self._dice = dice
        self._victim: subprocess.Popen[str] | None = None
        # What the dead left in a connection may still arrive.
        self._victims: dict[Session, subprocess.Popen[str] | None] = {}
        self._arrivals: list[float] = []
        self._spared = 0

    def kill(self, victim: "subprocess.Popen[str]") -> None:
        """Kill this one. Returns when it is dead."""
        self._victim, self._arrivals = victim, []
        self._spared = self._dice.randrange(1, self.MOST - 2)
        _, error = victim.communicate(timeout=120)
        assert victim.returncode == -signal.SIGKILL, error
        self._victim = None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        victim = self._victims.setdefault(session, self._victim)
        if victim is not None and victim is self._victim:
            loop = asyncio.get_running_loop()
            self._arrivals.append(loop.time())
            count = len(self._arrivals)
            if count == self._spared:
                # A delay of up to what the next two mails will take, as far as is known.
                pace = (self._arrivals[-1] - self._arrivals[0]) / (count - 1) if count > 1 else 0.01
                loop.call_later(self._dice.uniform(0, 2 * pace), victim.kill)
            elif count == self.MOST:
                victim.kill()
        return await super().handle_DATA(server, session, envelope)
