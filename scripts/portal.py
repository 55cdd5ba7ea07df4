"""The portal beside a play on a local chain, and the service, each in a process of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from duly.chain.sender import Sender
from duly.config import Settings
from duly.domain.errors import DulyError

_DULY = [sys.executable, "-c", "from duly.interfaces.cli import main; main()"]


class PortalMissing(DulyError):
    """The portal does not start."""


@contextmanager
def portal(settings: Settings, people: Mapping[str, Sender], officer: Sender, log: Path) -> Iterator[str]:
    """`duly web --demo` for as long as the context lasts; its address.

    people: whom a visitor can be, by name. officer: who supervises them. log: the file that it writes to.
    """
    keys = log.with_name("people.json")
    everybody = {**people, "Compliance officer": officer}
    keys.write_text(
        json.dumps({name: "0x" + bytes(one.account.key).hex() for name, one in everybody.items()})
    )
    more = {"DULY_WEB_OFFICERS": officer.address}
    command = ["web", "--demo", "--demo-keys", str(keys), "--listen", "127.0.0.1:0"]
    with _process(command, settings, more, log) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise PortalMissing("the portal did not start", remedy=f"Look into {log}.")
        yield found[0]


@contextmanager
def service(settings: Settings, servicer: Sender, log: Path) -> Iterator[None]:
    """`duly run` for as long as the context lasts."""
    more = {"DULY_PRIVATE_KEY": bytes(servicer.account.key).hex()}
    with _process(["run"], settings, more, log):
        yield


@contextmanager
def _process(
    command: list[str], settings: Settings, more: Mapping[str, str], log: Path
) -> "Iterator[subprocess.Popen[str]]":
    mail = settings.mail
    assert mail is not None
    mine = {
        "DULY_RPC": settings.rpc,
        "DULY_DEPLOYMENTS": str(settings.deployments),
        "DULY_DATABASE": settings.database,
        "DULY_VAULT": settings.vault,
        "DULY_MASTER_KEY_FILE": str(settings.master_key_file),
        "DULY_SMTP_HOST": mail.host,
        "DULY_SMTP_PORT": str(mail.port),
        "DULY_SMTP_TLS": mail.security.value,
        "DULY_SMTP_SENDER": mail.sender,
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("DULY_")}
    with (
        log.open("a", encoding="utf-8") as errors,
        subprocess.Popen(
            [*_DULY, *command],
            env=others | mine | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # A Ctrl-C is for the play, which then ends this in its turn.
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
