"""`duly bounce` and `duly receipt`: what carriers report about messages that they took."""

import json as jsons
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from duly.domain.errors import DulyError, InvalidInput
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import FAILED, Json, console, print_json, show_error
from duly.interfaces.cli._stop import stoppable

if TYPE_CHECKING:
    from duly.services.reports import Intake, ReportsTaken

RecordOnly = Annotated[
    bool,
    typer.Option(
        "--record-only",
        help="Send no transaction: the next call without this, from where the key is, revokes.",
    ),
]
_SECONDS = 10
"""In which a request to the webhook has to be there."""


def bounce(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE]...", help="Mails in files, or Maildirs; by default one mail on standard input."
        ),
    ] = None,
    record_only: RecordOnly = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Take mails about mails: delivery status notifications, complaints, and the answer STOP.

    A report counts if it bears the tag of a mail that went out from here; whatever else comes changes
    nothing. Where an address does not exist, somebody complains, or the borrower answers STOP, nothing more
    is planned for that channel, and its consent is revoked on chain with the key of DULY_KEY_FILE. A full
    mailbox is counted. New mail of a Maildir is read once, and marked as seen.

    \b
    Examples:
      duly bounce < bounced.eml
      duly bounce ~/Maildir
    """
    from duly.channels.reports import NoReport, read_mail

    with _Taking(rpc, record_only, json) as it:
        for data in _mails(sources or []):
            try:
                report = read_mail(data)
            except NoReport as error:
                it.unreadable(error, alone=not sources)
            else:
                it.take(report, data)


def receipt(
    source: Annotated[
        Path | None, typer.Argument(metavar="[SOURCE]", help="Receipts as JSON; by default standard input.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Take them over HTTP instead, such as 127.0.0.1:8026, until Ctrl-C."
        ),
    ] = None,
    record_only: RecordOnly = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Take the receipts of SMS and push gateways: delivered, failed, undeliverable, complaint or stop.

    Each is a JSON object, {"id": …, "status": …, "code": …}, where `id` is the idempotency key of the
    request; docs/channels.md tells more. What closes a channel is the same as for `duly bounce`. With
    --listen gateways POST theirs: let a reverse proxy with TLS stand before it.

    \b
    Examples:
      duly receipt receipts.jsonl
      duly receipt --listen 127.0.0.1:8026
    """
    from duly.channels.reports import NoReport, read_receipt, read_receipts

    if listen is not None and source is not None:
        raise InvalidInput("--listen and a file do not go together")
    with _Taking(rpc, record_only, json) as it:
        if listen is not None:
            _serve(it, *_host_and_port(listen))
            return
        for value in read_receipts(_read(source)):
            try:
                report = read_receipt(value)
            except NoReport as error:
                it.unreadable(error, alone=False)
            else:
                it.take(report, jsons.dumps(value, sort_keys=True).encode())


class _Taking:
    """Takes reports, and tells in the end what became of them."""

    def __init__(self, rpc: str | None, record_only: bool, json: bool) -> None:
        from duly.bootstrap import Application
        from duly.services.reports import Intake

        self._record_only, self._json = record_only, json
        self.app: Application = Application.from_environment(rpc=rpc)
        self.intake: Intake = Intake(self.app.notice_store, self.app.reports, self.app.vault)
        self._problem: DulyError | None = None

    def __enter__(self) -> "_Taking":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None:
                self._tell()
        finally:
            self.app.close()

    def take(self, report: Any, raw: bytes) -> None:
        self.intake.take(report, raw, self.app.clock.now())

    def unreadable(self, error: DulyError, *, alone: bool) -> None:
        """What is no report; alone it is a mistake, among others it is counted."""
        if alone:
            raise error
        self.intake.unreadable()

    def revoke(self) -> "tuple[int, int]":
        from duly.services.reports import revoke

        app = self.app
        if self._record_only or not app.reports.unrevoked():
            return 0, 0
        return revoke(app.reports, app.read_model, app.contracts, app.sender)

    def _tell(self) -> None:
        problem: DulyError | None = None
        revoked = left = 0
        try:
            revoked, left = self.revoke()
        except DulyError as error:
            # What was recorded stays so: the next call revokes.
            problem = error
        taken = self.intake.report(revoked, left)
        if self._json:
            print_json(taken.as_json())
        else:
            console().print(in_words(taken) + ".", soft_wrap=True)
        if problem:
            raise problem
        if left:
            raise typer.Exit(FAILED)


def in_words(taken: "ReportsTaken") -> str:
    """What became of reports, in a line."""
    from duly.services.reports import Taken

    parts = [f"{count:,} {verdict}" for verdict, count in sorted(taken.verdicts.items())]
    for which, words in (
        (Taken.KNOWN, "known before"),
        (Taken.NOT_OURS, "not about a message from here"),
        (Taken.UNREADABLE, "no report"),
    ):
        if taken.taken[which]:
            parts.append(f"{taken.taken[which]:,} {words}")
    if taken.closed:
        parts.append(f"{taken.closed:,} channel{'s' * (taken.closed != 1)} closed")
    if taken.revoked:
        parts.append(f"{taken.revoked:,} consent{'s' * (taken.revoked != 1)} revoked")
    if taken.left:
        parts.append(f"{taken.left:,} for another lender's key to revoke")
    return ", ".join(parts) or "No report"


def _mails(sources: list[Path]) -> Iterator[bytes]:
    if not sources:
        yield sys.stdin.buffer.read()
        return
    for source in sources:
        if not (source / "new").is_dir():
            yield _read(source)
            continue
        (source / "cur").mkdir(exist_ok=True)
        for path in sorted((source / "new").iterdir()):
            yield _read(path)
            # Only now: what was killed meanwhile is read again, and counts once.
            path.rename(source / "cur" / f"{path.name}:2,S")


def _read(path: Path | None) -> bytes:
    try:
        return sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from None


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise InvalidInput(f"{text!r} is no address to listen at", wanted="such as 127.0.0.1:8026")
    return host, int(port)


def _serve(it: _Taking, host: str, port: int) -> None:
    try:
        server = ThreadingHTTPServer((host, port), webhook(it.take, it.intake, it.revoke))
    except OSError as error:
        raise InvalidInput(f"{host}:{port} cannot be listened at: {error.strerror or error}") from None
    with stoppable(lambda: threading.Thread(target=server.shutdown).start()):
        typer.echo(f"Taking receipts at http://{host}:{server.server_address[1]}/", err=True)
        server.serve_forever()
        server.server_close()


def webhook(
    take: Callable[[Any, bytes], object], intake: "Intake", revoke: Callable[[], object]
) -> type[BaseHTTPRequestHandler]:
    """Takes receipts over HTTP: 204 for whatever is one, genuine or not, so that nobody can try tags out; 400
    for what is none, 500 where it could not be recorded, so that the gateway tries again.
    """
    from duly.channels.reports import MOST_BYTES, NoReport, read_receipt, read_receipts

    one_at_a_time = threading.Lock()

    class Webhook(BaseHTTPRequestHandler):
        timeout = _SECONDS
        server_version, sys_version = "duly", ""

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MOST_BYTES:
                self._answer(413 if length.isdecimal() else 411)
                return
            try:
                values = read_receipts(self.rfile.read(int(length)))
                reports = [(read_receipt(value), value) for value in values]
            except NoReport:
                with one_at_a_time:
                    intake.unreadable()
                self._answer(400)
                return
            try:
                with one_at_a_time:
                    for report, value in reports:
                        take(report, jsons.dumps(value, sort_keys=True).encode())
            except DulyError as error:
                show_error(error)
                self._answer(500)
                return
            self._answer(204)
            try:
                with one_at_a_time:
                    revoke()
            except DulyError as error:
                # The next receipt, or the end, tries again.
                show_error(error)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Addresses and paths are nobody's business."""

    return Webhook
