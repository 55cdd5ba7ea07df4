"""What a supervisor looks at: whether the rules were kept, by an audit of the chain, and the policies.

An audit reads the whole chain, so it runs in a thread of its own, one at a time, and what it came to is kept
until another is asked for. Its files lie in a temporary folder.
"""

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duly.domain.audit import RULES
from duly.domain.errors import DulyError
from duly.domain.pack import PolicyPack
from duly.domain.replay import Policy
from duly.services import audit as audits
from duly.services import auditreport, telemetry
from duly.services.beside import Beside
from duly.services.index import Source
from duly.services.policy import load_pack, pack_names, pack_published
from duly.services.policycheck import Deviation, deviations
from duly.services.portfolio import AT_ONCE

if TYPE_CHECKING:
    from duly.bootstrap import Application

FILES: Final = ("report.html", "report.json", "notices.csv", "refused.csv", "violations.csv")
"""What an audit leaves, to be downloaded."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an audit says of a rule: how many cases it was held against, and how often it was broken. checked:
    whether it could be looked at at all.
    """

    rule: str
    checked: bool
    held_against: int
    broken: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit came to, up to a block (its time in UTC seconds)."""

    block: int
    at: int
    clean: bool
    events: int
    loans: int
    notices: int
    refused: int
    rulings: tuple[Ruling, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class Running:
    """How far an audit is, in blocks."""

    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Audit:
    """The last audit, the one that runs, and whether the last that ran came to an end."""

    found: Finding | None
    running: Running | None
    failed: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """A policy on the chain, beside the pack of its hash (None where that does not come along).

    deviations: where the limits on the chain are others than the pack's. loans: that run under it; None while
    they are counted for the first time.
    """

    policy: Policy
    pack: PolicyPack | None
    deviations: tuple[Deviation, ...]
    loans: int | None

    @property
    def as_the_pack_says(self) -> bool:
        """Its limits are the pack's, or were tightened since."""
        return self.pack is not None and all(each.allowed for each in self.deviations)


class Supervision:
    """For several threads."""

    def __init__(self, app: "Application") -> None:
        self._app = app
        self._lock = threading.Lock()
        self._found: Finding | None = None
        self._running: Running | None = None
        self._failed = False
        self._thread: threading.Thread | None = None
        self._loans: Beside[dict[int, int]] = Beside("policies")
        self._folder = tempfile.TemporaryDirectory(prefix="duly-audit-")

    def audit(self) -> Audit:
        """How it stands."""
        with self._lock:
            return Audit(self._found, self._running, self._failed)

    @property
    def is_old(self) -> bool:
        """The chain went on since the last audit, as far as it was read."""
        found = self._found
        return found is None or self._app.read_model.cursor().block.number > found.block

    def begin(self) -> bool:
        """Audit the chain anew, beside the requests. False where one runs, or the last one is up to date."""
        with self._lock:
            if self._running is not None or not self.is_old:
                return False
            self._running, self._failed = Running(0, 0), False
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()
            return True

    def wait(self, seconds: float) -> None:
        """Until the audit that runs is over."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        found, failed = None, False
        try:
            found = self._audit()
        except Exception as error:  # nobody waits for it: the page tells
            telemetry.failed(error, "audit")
            failed = True
        with self._lock:
            self._running, self._failed = None, failed
            self._found = found or self._found

    def _audit(self) -> Finding:
        app = self._app
        folder = Path(self._folder.name) / "report"
        with auditreport.ReportWriter(folder, app.deployment, replace=True) as writer:
            audited = audits.audit(
                app.w3,
                Source.of(app.deployment),
                self._progress,
                tell=writer.tell,
            )
            packs = [load_pack(name) for name in pack_names()]
            policies = auditreport.policies_of(audited, packs, app.templates.hash)
            report = auditreport.Report(audited, policies, app.deployment, "All loans.")
            writer.finish(report)
        findings = report.findings
        rulings = tuple(
            Ruling(
                rule.id,
                bool(rule.what(report.given)) or bool(findings.broken[rule.id]),
                report.checked(rule),
                findings.broken[rule.id],
            )
            for rule in RULES
        )
        return Finding(
            block=audited.upto.number,
            at=audited.upto.timestamp,
            clean=report.clean,
            events=findings.events,
            loans=findings.loans,
            notices=findings.notices,
            refused=findings.refused.total(),
            rulings=rulings,
            folder=folder,
        )

    def _progress(self, done: int, of: int) -> None:
        with self._lock:
            self._running = Running(done, of)

    def file(self, name: str) -> bytes:
        """One of the files of the last audit. Raises: NoAudit."""
        found = self._found
        if found is None or name not in FILES:
            raise NoAudit("nothing was audited yet")
        return (found.folder / name).read_bytes()

    def in_force(self) -> list[InForce]:
        """All policies on the chain, by number, as far as it was read."""
        app = self._app
        loans = self._loans.find(
            None,
            app.read_model.cursor().block.hash,
            app.read_model.policies_in_use,
            wait=not app.portfolio.book.has_more(None, AT_ONCE),
        )
        found = []
        for policy in self._app.read_model.policies():
            pack = pack_published(policy.pack)
            differ = tuple(deviations(policy, pack, self._app.templates.hash)) if pack else ()
            found.append(
                InForce(policy, pack, differ, None if loans is None else loans.get(policy.number, 0))
            )
        return found


class NoAudit(DulyError):
    """Nothing was audited yet."""
