"""Is everything in place for the service to run? Looks at each part that it needs, and changes nothing.

    for finding in check.everything(app):
        print(finding.level, finding.check, finding.found, finding.remedy)

Whatever is down, every check ends: with what it found, or as a failure when its time is over. What depends on
a part that failed is not checked, and says so. No finding tells a secret, or of a person.
"""

import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duly.config import MailSecurity
from duly.domain.errors import DulyError

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.store.migrations import Schema
    from duly.store.readmodel import Cursor

TIMEOUT: Final = 10.0
"""Seconds that each check has, unless told otherwise."""

OLD_HEAD: Final = 300
DEAD_HEAD: Final = 3600
"""Seconds since the latest block of a live chain after which something may be wrong, or is."""

SKEWED: Final = 5
WRONG_TIME: Final = 60
"""Seconds by which this machine's clock may be off: windows of hours are held by it (HOURS-1)."""

BATCH_GAS: Final = 50 * 63_000 + 21_000
"""What a full batch of first reminders takes at most (docs/gas.md)."""
FEW_BATCHES: Final = 20

LITTLE_SPACE: Final = 2**30
NO_SPACE: Final = 100 * 2**20
"""Bytes that a disk should, and must, have left."""

_NEEDED: Final = (
    "alembic.migration",
    "alembic.operations",
    "alembic.script",
    "duly.chain.logs",
    "duly.channels.email",
    "duly.services.deploy",
    "duly.services.render",
    "duly.store.migrations",
    "duly.store.notices",
    "duly.store.vault",
)
"""What checks import, beforehand: threads that import at the same time can get into each other's way."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Level(StrEnum):
    """How good or bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    check: the part that was looked at. remedy: what to do, where something is to be done.
    """

    check: str
    level: Level
    found: str
    remedy: str | None = None

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {"check": self.check, "level": str(self.level), "found": self.found, "remedy": self.remedy}


Told = Callable[[Finding], None]
Findings = Iterator[Finding]


class Unchecked(Exception):
    """Another check failed on which this one rests; its message says what is missing."""


def everything(app: "Application", *, timeout: float = TIMEOUT, told: Told = lambda _: None) -> list[Finding]:
    """All findings, in the order of the checks. Raises nothing.

    timeout: seconds for each check. told: hears of each finding when it is there.
    """
    for name in _NEEDED:
        import_module(name)
    chain = _Chain(app)
    node = _run({"node": chain.node}, timeout, told)
    chain.missing = None if all(each.level is not Level.FAILURE for each in node) else "the node"
    # The deployment and the key come first: others rest on them.
    base = _run({"deployment": chain.deployment, "key": lambda: _key(app, chain)}, timeout, told)
    failed = {each.check for each in base if each.level is Level.FAILURE}
    chain.undeployed = "deployment" in failed or chain.missing is not None
    keyless = "key" in failed or chain.missing is not None
    rest: dict[str, Callable[[], Findings]] = {
        "head": chain.head,
        "finality": chain.finality,
        "clock": chain.clock,
        "contracts": chain.contracts,
        "database": lambda: _database(app),
        "schema": lambda: _schemas(app),
        "vault": lambda: _vault(app),
        "channels": lambda: _channels(app),
        "templates": lambda: _templates(app, chain),
        "loans": lambda: _loans(app, keyless),
        "gas": lambda: _gas(app, chain, keyless),
        "disk": lambda: _disk(app),
    }
    return node + base + _run(rest, timeout, told)


def healthy(findings: list[Finding]) -> bool:
    """Nothing failed; there may be warnings."""
    return all(each.level is not Level.FAILURE for each in findings)


def of_settings(error: DulyError) -> Finding:
    """The finding where the environment itself is wrong."""
    return Finding("settings", Level.FAILURE, error.wrong, error.remedy)


# -------------------------------------------------------------------------------------------- running


def _run(checks: dict[str, Callable[[], Findings]], timeout: float, told: Told) -> list[Finding]:
    """Run checks at the same time. Who does not end in time is left behind, with the thread it hangs in."""
    done: queue.SimpleQueue[tuple[str, list[Finding]]] = queue.SimpleQueue()

    def run(name: str, check: Callable[[], Findings]) -> None:
        found: list[Finding] = []
        try:
            found.extend(check())
        except Unchecked as missing:
            found.append(Finding(name, Level.WARNING, f"not checked: {missing} comes first"))
        except DulyError as error:
            wrong = error.wrong + (f" (wanted: {error.wanted})" if error.wanted else "")
            found.append(Finding(name, Level.FAILURE, wrong, error.remedy))
        except BaseException as error:  # nobody reads tracebacks here, and its words may quote anything
            wrong = f"could not be checked ({type(error).__name__})"
            found.append(Finding(name, Level.FAILURE, wrong, "Nobody foresaw this: please report it."))
        done.put((name, found))

    for name, check in checks.items():
        threading.Thread(target=run, args=(name, check), name=f"check-{name}", daemon=True).start()
    results: dict[str, list[Finding]] = {}
    deadline = time.monotonic() + timeout
    while len(results) < len(checks):
        try:
            name, found = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            for name in checks.keys() - results.keys():
                results[name] = [
                    Finding(
                        name,
                        Level.FAILURE,
                        f"no answer within {timeout:g} seconds",
                        "See what keeps it busy, or give it more time: --timeout.",
                    )
                ]
        else:
            results[name] = found
    findings = [finding for name in checks for finding in results[name]]
    for finding in findings:
        told(finding)
    return findings


# ------------------------------------------------------------------------------------------ the chain


class _Chain:
    """The checks that ask the node. missing, undeployed: what is not there to be asked."""

    def __init__(self, app: "Application") -> None:
        self._app = app
        self.missing: str | None = None
        self.undeployed = False

    def need(self, *, deployed: bool = False) -> None:
        if self.missing:
            raise Unchecked(self.missing)
        if deployed and self.undeployed:
            raise Unchecked("the deployment")

    def node(self) -> Findings:
        from duly.chain import networks
        from duly.chain.errors import explained

        app = self._app
        w3, chain = app.w3, networks.chain_name(app.chain_id)
        where = networks.shown_url(app.rpc)
        yield Finding("node", Level.OK, f"chain {chain} at {where}")
        with explained("asking whether the node is synchronised"):
            syncing = w3.eth.syncing
        if syncing is not False:
            at = None if syncing is True else syncing.get("currentBlock")
            yield Finding(
                "node",
                Level.FAILURE,
                "the node is still synchronising" + (f", at block {at}" if at is not None else ""),
                "Wait until it has caught up, or name another one with DULY_RPC.",
            )

    def head(self) -> Findings:
        self.need()
        from duly.chain.logs import LogReader

        block = LogReader(self._app.w3, ()).block("latest")
        if block is None:
            yield Finding("head", Level.FAILURE, "the chain has no block", "Check that DULY_RPC is right.")
            return
        age = int(time.time()) - block.timestamp
        at = f"block {block.number:,} of {datetime.fromtimestamp(block.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
        if self._app.is_local:
            yield Finding("head", Level.OK, f"{at}; the chain's own time counts here")
        elif age < -SKEWED:
            yield Finding(
                "head",
                Level.FAILURE if age < -WRONG_TIME else Level.WARNING,
                f"{at}, {-age:,} seconds ahead of this machine's clock",
                "Set this machine's clock by a time server (NTP).",
            )
        else:
            level = Level.OK if age < OLD_HEAD else Level.WARNING if age < DEAD_HEAD else Level.FAILURE
            remedy = "See whether the node has lost its peers, or the chain has stopped."
            yield Finding("head", level, f"{at}, {age:,} s old", None if level is Level.OK else remedy)

    def finality(self) -> Findings:
        self.need()
        from duly.chain.logs import LogReader

        name = self._app.finality
        block = LogReader(self._app.w3, ()).block(name)
        if block is None:
            yield Finding(
                "finality",
                Level.WARNING,
                f"the chain has no {name} block yet",
                "On a young chain wait; where there never is one, set DULY_FINALITY to safe or latest.",
            )
        else:
            yield Finding("finality", Level.OK, f"acts on {name} blocks, now {block.number:,}")

    def clock(self) -> Findings:
        """This machine's time against the one in the node's answers, which comes from another machine."""
        self.need()
        import requests

        url = self._app.rpc
        if not url.startswith(("http://", "https://")):
            yield Finding("clock", Level.OK, "this node tells no time of its own; see head")
            return
        question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        before = time.time()
        try:
            told = requests.post(url, json=question, timeout=5).headers.get("Date")
            # A header's second began up to a second ago.
            theirs = parsedate_to_datetime(told).timestamp() + 0.5 if told else None
        except (requests.RequestException, ValueError):
            theirs = None
        if theirs is None:
            yield Finding("clock", Level.OK, "this node tells no time of its own; see head")
            return
        skew = (before + time.time()) / 2 - theirs
        off = abs(skew)
        level = Level.OK if off <= SKEWED else Level.WARNING if off <= WRONG_TIME else Level.FAILURE
        if level is Level.OK:
            yield Finding("clock", level, "agrees with the node's")
        else:
            way = "ahead of" if skew > 0 else "behind"
            remedy = "Set this machine's clock by a time server (NTP): waking hours are held by it."
            yield Finding("clock", level, f"{off:,.0f} seconds {way} the node's", remedy)

    def deployment(self) -> Findings:
        self.need()
        found = self._app.deployment
        yield Finding(
            "deployment", Level.OK, f"{len(found.contracts)} contracts, the first in block {found.block:,}"
        )

    def contracts(self) -> Findings:
        """The code at each address is what this version was compiled to, whatever its immutables were set to;
        then the contracts have to know each other.
        """
        self.need(deployed=True)
        from duly.chain.deployments import DeploymentMismatch, check_code
        from duly.services import deploy

        app, wrong = self._app, False
        for name, contract in app.deployment.contracts.items():
            try:
                check_code(app.w3, name, contract.address)
            except DeploymentMismatch as error:
                wrong = True
                yield Finding("contracts", Level.FAILURE, error.wrong, error.remedy)
        if wrong:
            return
        deploy.check(app.w3, app.deployment)
        yield Finding("contracts", Level.OK, "this version's code, and they know each other")


def _key(app: "Application", chain: _Chain) -> Findings:
    chain.need()
    address = app.account.address
    yield Finding("key", Level.OK, f"opens; it is {address}")
    settings = app.settings
    if settings.key_file is None and not app.is_local:
        yield Finding("key", Level.WARNING, "the key is not in a keystore file", "Set DULY_KEY_FILE.")


def _loans(app: "Application", keyless: bool) -> Findings:
    if keyless:
        raise Unchecked("the key")
    if _indexed(app) is None:
        yield Finding("loans", Level.WARNING, "nothing was indexed yet", "Run `duly index` first.")
        return
    count = app.read_model.count_served_by(app.account.address.lower())
    if count:
        yield Finding("loans", Level.OK, f"the key may serve notices about {count:,}")
    else:
        yield Finding(
            "loans",
            Level.WARNING,
            "the key is lender or servicer of no loan on which something is owed",
            "Check DULY_KEY_FILE; a lender appoints a servicer on the ledger (appointServicer).",
        )


def _gas(app: "Application", chain: _Chain, keyless: bool) -> Findings:
    if keyless:
        raise Unchecked("the key")
    chain.need()
    batches = batches_paid_by(app, app.sender.balance())
    level = Level.OK if batches >= FEW_BATCHES else Level.WARNING if batches else Level.FAILURE
    told = f"pays for {batches:,} full batches at the fees of the moment" if batches else "pays for no batch"
    remedy = None if level is Level.OK else f"Send some of the chain's coin to {app.account.address}."
    yield Finding("gas", level, told, remedy)


def batches_paid_by(app: "Application", balance: int) -> int:
    """For how many full batches of notices this much of the chain's coin, in wei, pays now."""
    from duly.chain.sender import current_fees

    return balance // (BATCH_GAS * max(1, current_fees(app.w3).most))


# ------------------------------------------------------------------------------------------ the store


def _file_of(url: str) -> Path | None:
    """The file of an SQLite database; None for every other."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def _exists(url: str) -> bool:
    path = _file_of(url)
    return path is None or path.exists()


def _standing(url: str, schema: "Schema") -> tuple[bool, str | None]:
    """Whether a database has tables of a schema, and at which revision, without changing anything.

    Raises: DatabaseTooNew, DatabaseError.
    """
    from sqlalchemy import inspect

    from duly.store.database import open_engine, reading

    # Opened to be written to, a vault would begin to keep a write-ahead log.
    path = _file_of(url) if schema.name == "vault" else None
    engine = open_engine(f"sqlite:///file:{path.absolute()}?mode=ro&uri=true" if path else url)
    try:
        with reading(engine) as connection:
            found = schema.revision(connection)
            return found is not None or inspect(connection).has_table(schema.first_table), found
    finally:
        engine.dispose()


def _indexed(app: "Application") -> "Cursor | None":
    """How far the chain was read. Where the database is of an older schema, to ask it would change it: None,
    too.
    """
    from duly.store.migrations import SERVICE

    url = app.settings.database
    if not _exists(url) or _standing(url, SERVICE)[1] != SERVICE.head:
        return None
    return app.read_model.find_cursor()


def _database(app: "Application") -> Findings:
    """Reachable and writable. Nothing is made or changed."""
    if not _exists(app.settings.database):
        yield Finding(
            "database", Level.WARNING, "there is none yet", "`duly index` makes it and reads the chain."
        )
        return
    from duly.store.database import writing

    with writing(app.read_model.engine) as connection:
        if connection.dialect.name == "postgresql":
            read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"
            if read_only:
                yield Finding(
                    "database",
                    Level.FAILURE,
                    "it can only be read, as a standby can",
                    "Point DULY_DATABASE at the primary.",
                )
                return
    cursor = _indexed(app)
    if cursor:
        yield Finding(
            "database", Level.OK, f"reachable and writable, read up to block {cursor.block.number:,}"
        )
    else:
        yield Finding(
            "database", Level.WARNING, "reachable and writable; nothing was indexed yet", "Run `duly index`."
        )


def _schemas(app: "Application") -> Findings:
    """The databases have the tables of this version, or will have."""
    from duly.store.migrations import SERVICE, VAULT

    for schema, url in ((SERVICE, app.settings.database), (VAULT, app.settings.vault)):
        if not _exists(url):
            continue
        made, found = _standing(url, schema)
        if not made:
            yield Finding("schema", Level.WARNING, f"{schema.words} is empty", "Its first use fills it.")
        elif found == schema.head:
            yield Finding("schema", Level.OK, f"{schema.words} is at {found}")
        else:
            yield Finding(
                "schema",
                Level.WARNING,
                f"{schema.words} is at {found or 'a schema from before the first revision'}, "
                f"this version at {schema.head}",
                "Back it up, and stop what still runs of an older version: the first process of this one "
                "brings it forward.",
            )


def _vault(app: "Application") -> Findings:
    from duly.store.migrations import VAULT

    if not _exists(app.settings.vault):
        yield Finding(
            "vault",
            Level.WARNING,
            "there is none yet",
            "Make a master key with `duly vault init`; the first `duly vault add` makes the vault.",
        )
    elif _standing(app.settings.vault, VAULT)[1] != VAULT.head:
        raise Unchecked("its schema")
    else:
        _ = app.vault
        yield Finding("vault", Level.OK, "the master key opens it")


def _disk(app: "Application") -> Findings:
    folders = {app.settings.deployments.absolute()}
    for url in (app.settings.database, app.settings.vault):
        if path := _file_of(url):
            folders.add(path.absolute().parent)
    least: tuple[int, Path] | None = None
    for folder in folders:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if least is None or free < least[0]:
            least = free, folder
    assert least is not None
    free, folder = least
    level = Level.OK if free >= LITTLE_SPACE else Level.WARNING if free >= NO_SPACE else Level.FAILURE
    remedy = None if level is Level.OK else "Make room: what cannot be written cannot be sent."
    yield Finding("disk", level, f"{free / 2**30:,.1f} GiB free at {folder}", remedy)


# ----------------------------------------------------------------------------------------- what is said


def _channels(app: "Application") -> Findings:
    """Each channel is connected to, up to the log-in; nothing is sent."""
    from duly.channels.message import CarrierUnavailable

    if not app.carriers:
        yield Finding(
            "channels",
            Level.FAILURE,
            "there is no way to reach a borrower",
            "Set DULY_SMTP_HOST and DULY_SMTP_SENDER.",
        )
        return
    for channel, carrier in app.carriers.items():
        name = channel.label
        try:
            carrier.ready()
        except CarrierUnavailable as error:
            yield Finding("channels", Level.FAILURE, f"{name}: {error.wrong}", error.remedy)
        else:
            yield Finding("channels", Level.OK, f"{name}: takes messages")
        finally:
            carrier.close()
    mail = app.settings.mail
    if mail and mail.security is MailSecurity.NONE and mail.host not in _LOOPBACK:
        yield Finding(
            "channels",
            Level.WARNING,
            "mail crosses the network unencrypted",
            "Set DULY_SMTP_TLS to starttls or tls.",
        )


def _templates(app: "Application", chain: _Chain) -> Findings:
    """They are those that each policy was published with, and keep its rules about words."""
    from duly.domain.errors import InvalidInput
    from duly.services.policy import word_rules_published
    from duly.services.render import check_templates

    templates = app.templates
    chain.need(deployed=True)
    names = {number: name for name, number in app.deployment.policies.items()}
    book = app.contracts.policy_book
    loans = app.read_model.policies_in_use() if _indexed(app) else {}
    good = 0
    for number in range(1, book.count() + 1):
        _, retired = book.state_of(number)
        used = loans.get(number, 0)
        if retired and not used:
            continue
        published, pack = book.hashes_of(number)
        policy = f"policy {number}" + (f" ({names[number]})" if number in names else "")
        try:
            check_templates(templates, word_rules_published(pack))
        except InvalidInput as error:
            yield Finding("templates", Level.FAILURE, f"{policy}: {error.wrong}", error.remedy)
            continue
        if published == templates.hash:
            good += 1
            continue
        yield Finding(
            "templates",
            Level.FAILURE if used else Level.WARNING,
            f"{policy} was published with others: nothing is said about its {used:,} loans",
            "Set DULY_TEMPLATES to those, or use the version of Duly that it was published with.",
        )
    if good:
        yield Finding("templates", Level.OK, f"those of {good} polic{'y' if good == 1 else 'ies'} in force")
