"""`duly index`: the chain's events, into the database that the other commands ask."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, console, print_json

if TYPE_CHECKING:
    from duly.services.index import Progress


def index(rpc: Rpc = None, json: Json = False) -> None:
    """Read what is new on the chain into the database.

    Goes on from where it was left, and can be stopped at any time: what was read so far stays. Takes in
    blocks that are final; on local chains all of them. What was read before and is not on the chain any more,
    after a reorganisation, is taken back first.

    The database can be deleted at any time: everything that this command keeps is made again from the chain.
    What became of deliveries is not.

    \b
    Example:
      duly index --rpc http://127.0.0.1:8545
    """
    from duly.bootstrap import Application
    from duly.services import index as service

    app = Application.from_environment(rpc=rpc)
    with _bar(json) as progress:
        report = service.index(app.w3, app.deployment, app.read_model, app.finality, progress)
    if json:
        print_json(report.as_json())
        return
    out = console()
    if report.rolled_back:
        taken_back = _count(report.rolled_back, "event")
        out.print(f"The chain was reorganised: {taken_back} taken back.", style="yellow")
    if report.blocks:
        out.print(
            f"{_count(report.events, 'event')} in {_count(report.blocks, 'block')}, "
            f"{report.first} to {report.last}.",
            soft_wrap=True,
        )
    else:
        out.print(f"Nothing new: the database is at block {report.last}.")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


@contextmanager
def _bar(json: bool) -> "Iterator[Progress | None]":
    """A bar on standard error while a person is watching."""
    if json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """How fast it goes."""

        def render(self, task: Task) -> Text:
            done, seconds = task.fields["events"], task.finished_time or task.elapsed
            return Text(f"{done / seconds:,.0f} events/s" if done and seconds else "")

    columns = (
        TextColumn("Indexing"),
        BarColumn(),
        TextColumn("block {task.fields[block]:,} of {task.fields[head]:,}, {task.fields[events]:,} events"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, events=0, block=0, head=0)

        def told(first: int, block: int, head: int, events: int) -> None:
            done, total = block - first + 1, head - first + 1
            bar.update(task, completed=done, total=total, block=block, head=head, events=events)

        yield told
