"""`duly database`: the schema of the service's database."""

from typing import TYPE_CHECKING

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

database = typer.Typer(
    name="database",
    help="See which schema the service's database has, and bring it forward.",
    no_args_is_help=True,
)


@database.command("status")
def status(json: Json = False) -> None:
    """Tell which schema the database has, and which one this program wants.

    Exit code 1 where they differ: `duly database upgrade` brings it forward, and so does any other command
    that opens it. That of the contact vault is brought forward when the vault is opened.
    """
    engine = _engine()
    found, head = _revision(engine), _head()
    where = engine.url.render_as_string(hide_password=True)
    if json:
        print_json({"database": where, "revision": found, "wanted": head, "current": found == head})
    else:
        out = console()
        out.print(f"{where}: {found or 'nothing in it that has a revision'}", soft_wrap=True)
        if found != head:
            out.print(f"This program wants {head}: `duly database upgrade`.", style="yellow")
    if found != head:
        raise typer.Exit(FAILED)


@database.command("upgrade")
def upgrade(json: Json = False) -> None:
    """Make the tables, or bring those of an older schema forward: all of it or nothing.

    Stop the service and make a copy first. A program of an older version cannot use the database afterwards.
    """
    from duly.store.migrations import SERVICE

    engine = _engine()
    before = _revision(engine)
    SERVICE.prepare(engine)
    after = _revision(engine)
    if json:
        print_json({"from": before, "to": after})
    elif before == after:
        console().print(f"Nothing to do: the database is at {after}.")
    else:
        console().print(f"From {before or 'nothing'} to {after}.")


def _engine() -> "Engine":
    from duly.config import Settings
    from duly.store.database import open_engine

    return open_engine(Settings.from_environment().database)


def _revision(engine: "Engine") -> str | None:
    from duly.store.database import reading
    from duly.store.migrations import SERVICE

    with reading(engine) as connection:
        return SERVICE.revision(connection)


def _head() -> str:
    from duly.store.migrations import SERVICE

    return SERVICE.head
