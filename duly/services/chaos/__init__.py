"""Chaos: the service works on while whatever it stands on fails, and nothing is lost or said twice.

    report = play(Size(kills=1000, reorganisations=200), processes)

Every scenario has a chain, contracts, borrowers, databases and a mail server of its own; the service runs in
processes of its own. Between it and its node is a proxy that fails and lies (`node`), its mail server does
what mail servers do (`mail`). After each scenario the read model has to equal a rebuild from block zero, and
every notice that the gate let through has to have arrived once, or be accounted for (`check`).
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from duly.domain.errors import DulyError, InvalidInput
from duly.services.bench import postgresql_server
from duly.services.chaos import check
from duly.services.chaos.check import Found
from duly.services.chaos.scenarios import SCENARIOS, Restartable, Scenario, Size, Trial
from duly.services.chaos.scene import Processes, open_scene
from duly.store.database import DatabaseError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to. left_out: why it was not tried, where it was not."""

    scenario: Scenario
    tries: int = 0
    done: dict[str, int] = field(default_factory=dict)
    found: Found = field(default_factory=Found)
    seconds: float = 0
    left_out: str | None = None

    def as_json(self) -> dict[str, object]:
        """For programs."""
        found = self.found
        return {
            "scenario": self.scenario.name,
            "what": self.scenario.words,
            "left_out": self.left_out,
            "tries": self.tries,
            "by": self.done,
            "blocks": found.blocks,
            "events": found.events,
            "notices": found.notices,
            "mails": found.mails,
            "duplicates": found.duplicates,
            "lost": found.lost,
            "uncertain": found.uncertain,
            "vanished": found.vanished,
            "dropped": dict(sorted(found.dropped.items())),
            "wrong": found.wrong,
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What was tried on which machine, and what came of it."""

    size: Size
    outcomes: tuple[Outcome, ...]
    machine: str
    cores: int

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not any(each.found.wrong for each in self.outcomes)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "sound": self.sound,
            "seed": self.size.seed,
            "machine": self.machine,
            "cores": self.cores,
            "scenarios": [each.as_json() for each in self.outcomes],
        }


__all__ = ["Outcome", "Processes", "Report", "Scenario", "Size", "chosen", "play"]

Advance = Callable[[], None]


def chosen(names: Sequence[str]) -> list[Scenario]:
    """Scenarios by their names; all, where none is named. Raises: InvalidInput."""
    known = {each.name: each for each in SCENARIOS}
    for name in names:
        if name not in known:
            raise InvalidInput(f"there is no scenario {name!r}", wanted=", ".join(known))
    return [known[name] for name in names] or list(SCENARIOS)


def play(
    size: Size,
    processes: Processes,
    scenarios: Sequence[Scenario] = SCENARIOS,
    begins: Callable[[Scenario, int], Advance] = lambda scenario, tries: lambda: None,
    at_once: int = 1,
) -> Report:
    """Try scenarios, so many at once.

    begins: is told of each, with how many tries it has; what it returns is called after each of them.

    Raises: ChainUnavailable, where there is no Anvil.
    """
    with ThreadPoolExecutor(at_once) as threads:
        outcomes = tuple(threads.map(lambda each: _try(each, size, processes, begins), scenarios))
    return Report(size, outcomes, f"{platform.machine()} {platform.system()}", os.cpu_count() or 1)


def _try(
    scenario: Scenario, size: Size, processes: Processes, begins: Callable[[Scenario, int], Advance]
) -> Outcome:
    start, wanted = time.monotonic(), scenario.tries(size)
    with ExitStack() as stack:
        database = None
        if scenario.postgresql:
            try:
                database = Restartable(stack.enter_context(postgresql_server()))
            except DatabaseError as error:
                return Outcome(scenario, left_out=error.wrong)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="duly-chaos-")))
        url = database.make("chaos") if database else None
        scene = stack.enter_context(open_scene(processes, folder, size.seed, database=url))
        trial = Trial(scene, size.quick, wanted, begins(scenario, wanted), database)
        try:
            scenario.play(trial)
            check.finish(scene)
            check.look(scene, trial.found, trial.stores)
        except DulyError as error:
            trial.found.wrong.append(": ".join(filter(None, (error.wrong, error.remedy))))
        except OSError as error:
            trial.found.wrong.append(f"{type(error).__name__}: {scene.last_words()}")
    return Outcome(scenario, trial.tries, dict(trial.done), trial.found, time.monotonic() - start)
