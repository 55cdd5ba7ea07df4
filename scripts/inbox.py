"""An SMTP server that delivers to nobody: it keeps every mail as a file, and lists them in a page.

    python -m scripts.inbox --directory inbox --port 2525     keep mail until Ctrl-C, then write the page
    python -m scripts.inbox --directory inbox --index         write the page of the mail kept there

The page is inbox/index.html. While the server runs, SIGUSR1 makes it write the page. For demonstrations and
tests: mail stays on this machine.
"""

import argparse
import asyncio
import html
import re
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Self, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"
PORT = 2525
_DIGITS = 5
_GIST = 100
_SHOWN = ("Subject", "From", "To", "Date", "Message-ID", "Content-Language", "Duly-Notice", "Duly-Salt")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --accent: #2a6; }
body { font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei",
  sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } a { color: inherit; } .soft, th, nav, dt { color: var(--soft); }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: normal; }
td, th { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:nth-child(1), td:nth-child(2) { white-space: nowrap; font-variant-numeric: tabular-nums; }
td a { text-decoration: none; } tr:hover td a { color: var(--accent); text-decoration: underline; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin: 1rem 0; }
pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; border-top: 1px solid var(--line);
  padding-top: 1rem; } dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; } nav { display: flex; gap: 1rem; }
"""
_FILTER = """
const rows = [...document.querySelectorAll("tbody tr")].map(row => [row, row.textContent.toLowerCase()]);
document.querySelector("input").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const [row, text] of rows) row.hidden = !words.every(word => text.includes(word));
});
"""


class Inbox:
    """Keeps mail in a directory, numbered in the order of arrival: 00001.eml, 00002.eml, …

    As a context manager it listens in a thread of its own, and writes the page in the end. A directory that
    holds mail already is continued.
    """

    def __init__(self, directory: Path, *, host: str = HOST, port: int = 0) -> None:
        self.directory = directory
        self.host = host
        self.port = port
        """Where it listens; 0 until then stands for any free port."""
        directory.mkdir(parents=True, exist_ok=True)
        self.count = max((int(path.stem) for path in self.files()), default=0)
        self._senders: list[str] = []
        self._rows: list[str] = []
        self._writing = threading.Lock()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------------------ keeping

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail. Called by aiosmtpd."""
        self.count += 1
        self._senders.append(envelope.mail_from or "")
        path = self.directory / f"{self.count:0{_DIGITS}}.eml"
        # Under another name until it is whole, so that nobody reads half a mail.
        part = path.with_suffix(".part")
        part.write_bytes(cast(bytes, envelope.content))
        part.rename(path)
        return "250 kept"

    def files(self) -> list[Path]:
        """The files of all mail, in the order of arrival."""
        return sorted(
            (path for path in self.directory.glob("*.eml") if path.stem.isdecimal()),
            key=lambda path: int(path.stem),
        )

    def mails(self) -> list[EmailMessage]:
        """All mail, in the order of arrival."""
        return [read(path) for path in self.files()]

    def senders(self) -> list[str]:
        """The envelopes' senders of what came since the start: where undeliverable mail would go back to."""
        return list(self._senders)

    # ---------------------------------------------------------------------------------------- listening

    async def listen(self) -> None:
        """Take mail from now on, in the running event loop."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="inbox.localdomain", enable_SMTPUTF8=True, loop=loop),
            self.host,
            self.port,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self.listen())
        self._thread = threading.Thread(target=self._loop.run_forever, name="inbox", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._thread is not None:
            if self._server is not None:
                self._loop.call_soon_threadsafe(self._server.close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()
        self.write_index()

    # ------------------------------------------------------------------------------------------ showing

    def write_index(self) -> Path:
        """Write index.html, and a page for each mail that came since it was last written."""
        pages = self.directory / "mail"
        pages.mkdir(exist_ok=True)
        with self._writing:
            files = self.files()
            # The last one's page did not lead on yet.
            new = max(0, len(self._rows) - 1)
            mails = [_look_at(path) for path in files[new:]]
            for position, mail in enumerate(mails, new):
                before = files[position - 1].stem if position else None
                after = files[position + 1].stem if position + 1 < len(files) else None
                page = pages / f"{mail.stem}.html"
                page.write_text(_mail_page(mail, before, after), encoding="utf-8")
            self._rows[new:] = [_row(mail) for mail in mails]
            index = self.directory / "index.html"
            part = index.with_suffix(".part")
            part.write_text(_index_page(self._rows), encoding="utf-8")
            part.rename(index)
        return index


def read(path: Path) -> EmailMessage:
    """A mail from its file."""
    return message_from_bytes(path.read_bytes(), policy=default)


def text_of(mail: EmailMessage) -> str:
    """What a mail of plain text says, its lines ending in LF."""
    return str(mail.get_content()).replace("\r\n", "\n")


def code_in(mails: Sequence[EmailMessage], address: str) -> str:
    """The confirmation code in the latest mail to an address that holds one: what the borrower would read.

    Raises: LookupError.
    """
    for mail in reversed(mails):
        found = re.search(r"(?<!\d)\d{6}(?!\d)", text_of(mail)) if "Duly-Notice" not in mail else None
        if found and mail["To"] == address:
            return found[0]
    raise LookupError("no code came to this address")


@dataclass(frozen=True, slots=True)
class _Mail:
    """What is shown of a mail."""

    name: str
    headers: dict[str, str]
    time: str
    text: str

    @property
    def stem(self) -> str:
        return self.name.partition(".")[0]

    @property
    def subject(self) -> str:
        return self.headers.get("Subject") or "(no subject)"

    @property
    def gist(self) -> str:
        """What it is about, in a line. Duly's mails have the same subject, and the same three paragraphs to
        begin with, whatever they say: it may be somebody else who sees them.
        """
        paragraphs = [part for part in self.text.replace("\r\n", "\n").split("\n\n") if part.strip()]
        gist = " ".join(paragraphs[3 if len(paragraphs) > 3 else 0].split()) if paragraphs else ""
        return gist if len(gist) <= _GIST else gist[: _GIST - 1] + "…"

    @property
    def language(self) -> str:
        return self.headers.get("Content-Language") or "en"


def _look_at(path: Path) -> _Mail:
    """Read a mail, as far as it can be read: anybody may send anything."""
    # The older policy parses ten times as fast.
    mail = message_from_bytes(path.read_bytes(), policy=compat32)
    headers = {
        name: ", ".join(_decoded(str(value)) for value in mail.get_all(name, []))
        for name in _SHOWN
        if name in mail
    }
    try:
        time = f"{parsedate_to_datetime(headers.get('Date', '')).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (TypeError, ValueError, OverflowError):
        time = ""
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    payload = parts[0].get_payload(decode=True) if parts else b""
    charset = parts[0].get_content_charset("utf-8") if parts else "utf-8"
    content = payload if isinstance(payload, bytes) else b""
    try:
        text = content.decode(charset, "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    return _Mail(path.name, headers, time, text)


def _decoded(header: str) -> str:
    try:
        text = str(make_header(decode_header(header))) if "=?" in header else header
    except (LookupError, ValueError, HeaderParseError):
        text = header
    return " ".join(text.split())


def _row(mail: _Mail) -> str:
    cells = (mail.time, mail.headers.get("To", ""))
    told = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    language = html.escape(mail.language, quote=True)
    link = f'<a href="mail/{mail.stem}.html" lang="{language}">{html.escape(mail.subject)}</a>'
    link += f'<br><span class="soft" lang="{language}">{html.escape(mail.gist)}</span>'
    return f'<tr>{told}<td>{link}</td><td class="soft">{html.escape(mail.headers.get("From", ""))}</td></tr>'


def _page(title: str, body: str, language: str = "en") -> str:
    return (
        f'<!doctype html>\n<html lang="{html.escape(language, quote=True)}">\n'
        '<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _index_page(rows: Sequence[str]) -> str:
    count = f"{len(rows):,} mail{'' if len(rows) == 1 else 's'}"
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    head = "<tr><th>Time</th><th>To</th><th>Subject</th><th>From</th></tr>"
    return _page(
        f"Inbox: {count}",
        f'<h1>Inbox</h1>\n<p class="soft">{count}, the latest first. Written {written}.</p>\n'
        '<input type="search" placeholder="Filter by address, subject or day" aria-label="Filter">\n'
        f"<table>\n<thead>{head}</thead>\n<tbody>\n{chr(10).join(reversed(rows))}\n</tbody>\n</table>\n"
        f"<script>{_FILTER}</script>",
    )


def _mail_page(mail: _Mail, before: str | None, after: str | None) -> str:
    fields = "\n".join(
        f"<dt>{name}</dt><dd>{html.escape(value)}</dd>"
        for name, value in mail.headers.items()
        if name not in ("Subject", "Content-Language")
    )
    links = ['<a href="../index.html">Inbox</a>']
    links += [f'<a href="{before}.html" rel="prev">Before</a>'] if before else []
    links += [f'<a href="{after}.html" rel="next">Next</a>'] if after else []
    links += [f'<a href="../{mail.name}">As it came</a>']
    return _page(
        mail.subject,
        f"<nav>{' '.join(links)}</nav>\n<h1>{html.escape(mail.subject)}</h1>\n<dl>\n{fields}\n</dl>\n"
        f"<pre>{html.escape(mail.text)}</pre>",
        mail.language,
    )


async def _serve(inbox: Inbox) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: loop.run_in_executor(None, inbox.write_index))
    await inbox.listen()
    print(f"Keeping mail for {inbox.host}:{inbox.port} in {inbox.directory}; Ctrl-C to stop.", flush=True)
    await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server, or write the page alone."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.inbox", description="Keep mail as files instead of delivering it."
    )
    parser.add_argument("--directory", type=Path, required=True, help="where the mail is kept")
    parser.add_argument("--host", default=HOST, help="address to listen at (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=PORT, help="port to listen at, 0 for any (default: %(default)s)"
    )
    parser.add_argument("--index", action="store_true", help="only write index.html of the mail kept")
    options = parser.parse_args(arguments)
    inbox = Inbox(options.directory, host=options.host, port=options.port)
    if not options.index:
        try:
            asyncio.run(_serve(inbox))
        except OSError as error:
            print(f"Error: cannot listen at {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
            return 1
    print(f"{inbox.write_index()}: {len(inbox.files()):,} mails")
    return 0


if __name__ == "__main__":
    sys.exit(main())
