"""`duly database`: the schemas of the service's database and of the contact vault."""

from typing import TYPE_CHECKING

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json

if TYPE_CHECKING:
    from duly.store.migrations import Schema

database = typer.Typer(
    name="database",
    help="See which schemas the service's database and the contact vault have, and bring them forward.",
    no_args_is_help=True,
)


@database.command("status")
def status(json: Json = False) -> None:
    """Tell which schema each database has, and which one this program wants. Nothing is made or changed.

    The contact vault is told of where there is one. Exit code 1 where a schema is not the wanted one: `duly
    database upgrade` brings it forward, and so does any other command that opens the database.
    """
    found = _standing()
    if json:
        print_json(
            {
                schema.name: {
                    "database": _shown(url),
                    "revision": revision,
                    "wanted": schema.head,
                    "current": revision == schema.head,
                }
                for schema, url, revision in found
            }
        )
    else:
        out = console()
        for schema, url, revision in found:
            words = revision or "nothing in it that has a revision"
            out.print(f"{schema.words}, {_shown(url)}: {words}", soft_wrap=True)
            if revision != schema.head:
                out.print(f"This program wants {schema.head}: `duly database upgrade`.", style="yellow")
    if any(revision != schema.head for schema, _, revision in found):
        raise typer.Exit(FAILED)


@database.command("upgrade")
def upgrade(json: Json = False) -> None:
    """Make the tables, or bring those of an older schema forward: of each database all of it or nothing.

    The contact vault is brought forward where there is one; `duly vault add` makes it. No key is needed.
    Stop the service and make copies first. A program of an older version cannot use them afterwards.
    """
    from duly.store import vault
    from duly.store.database import open_engine
    from duly.store.migrations import SERVICE

    told = {}
    for schema, url, before in _standing():
        if schema is SERVICE:
            engine = open_engine(url)
            schema.prepare(engine)
            engine.dispose()
        else:
            vault.prepare(url)
        told[schema.name] = {"from": before, "to": schema.head}
        if not json and before == schema.head:
            console().print(f"{schema.words}: nothing to do, it is at {before}.")
        elif not json:
            console().print(f"{schema.words}: from {before or 'nothing'} to {schema.head}.")
    if json:
        print_json(told)


def _standing() -> "list[tuple[Schema, str, str | None]]":
    """The databases, each with its URL and the revision that it is at."""
    from duly.config import Settings
    from duly.store.database import exists
    from duly.store.migrations import SERVICE, VAULT

    settings = Settings.from_environment()
    found = []
    for schema, url in ((SERVICE, settings.database), (VAULT, settings.vault)):
        made, revision = schema.standing(url) if exists(url) else (False, None)
        if made or schema is SERVICE:
            found.append((schema, url, revision))
    return found


def _shown(url: str) -> str:
    from duly.store.database import parse_url

    return parse_url(url).render_as_string(hide_password=True)
