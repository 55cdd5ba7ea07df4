"""How every command speaks: tables for people, JSON for programs, one clear message for what went wrong.

Results go to standard output; progress and errors to standard error, so that a pipe carries results alone.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from duly.domain.errors import DulyError, InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

_T = TypeVar("_T")

FAILED = 1
MISUSED = 2

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]


class NotConfirmed(DulyError):
    """Nothing was done."""


class Commands(TyperGroup):
    """A group of commands that says what went wrong in words, and exits with 2 for wrong input, 1 for a
    failure.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DulyError as error:
            show_error(error)
            ctx.exit(MISUSED if isinstance(error, InvalidInput) else FAILED)


def show_error(error: DulyError) -> None:
    """What was wrong, what was wanted, and what to do, on standard error."""
    typer.echo(typer.style("Error: ", fg="red", bold=True) + error.wrong, err=True)
    if error.wanted:
        typer.echo(f"Wanted: {error.wanted}", err=True)
    if error.remedy:
        typer.echo(f"To do: {error.remedy}", err=True)


def confirm(question: str, *, otherwise: str = "nothing was sent", why: str = "this is a live chain") -> None:
    """Ask before something is sent to a live chain, or done that binds.

    Raises: NotConfirmed, where the answer is no, or nobody is there to give one.
    """
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{otherwise}: {why}, and nobody is there to confirm", remedy="Give --yes.")
    if not typer.confirm(question, err=True):
        raise NotConfirmed(otherwise)


def print_json(value: object) -> None:
    """One JSON document on standard output. Amounts may exceed 64 bits and stay integers."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> "Console":
    """Standard output for tables and words. Nothing is read as markup: it may come from a file."""
    from rich.console import Console

    return Console(markup=False, highlight=False)


@contextmanager
def counting(description: str, noun: str, *, json: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while a person is watching, to be told how far it has come, and of how far."""
    if json or not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(description),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,} " + noun),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def stages(*, json: bool) -> Iterator[Callable[[str, int, int], None]]:
    """The same for work of several stages, to be told which one it is at as well."""
    if json or not sys.stderr.isatty():
        yield lambda stage, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, of: bar.update(task, description=stage, completed=done, total=of)


@contextmanager
def bar(description: str, total: int | None, *, json: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while a person is watching; what is handed out moves it on by so many."""
    if json or not sys.stderr.isatty():
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(description, total=total)
        yield lambda steps: shown.advance(task, steps)


def progress(items: Iterable[_T], description: str, *, json: bool, total: int | None = None) -> Iterator[_T]:
    """The items, with a bar on standard error while a person is watching."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(description, total, json=json) as advance:
        for item in items:
            yield item
            advance(1)
