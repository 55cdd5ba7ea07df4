"""A local chain to play on: starts Anvil, and stops it again."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duly.domain.errors import DulyError

_BUILT = Path(__file__).resolve().parent.parent / "build" / "bin" / "anvil"
_PATIENCE = 20.0


class AnvilMissing(DulyError):
    """Anvil is not installed, or does not start."""


def free_port() -> int:
    """A port that nothing listens on, and that the system gives nobody else for a minute.

    A connection that was closed at this end keeps its port from whoever asks for any; a server that asks for
    this very one gets it. So two programs that start a server at once do not end up at the same one.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            listener.accept()[0].close()
        return int(address[1])


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", what: str) -> None:
    """Wait until a process listens.

    Raises: DulyError, when it ended, or takes too long.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AnvilMissing(f"{what} did not start", remedy="Run `make setup`, then try again.")


@contextmanager
def anvil(*, timestamp: int | None = None) -> Iterator[str]:
    """A new chain on a free port, for as long as the context lasts; its address.

    timestamp: the time of its first block, in UTC seconds; now where not given.
    """
    program = str(_BUILT) if _BUILT.exists() else shutil.which("anvil")
    if program is None:
        raise AnvilMissing("Anvil is not installed", remedy="Run `make setup`.")
    port = free_port()
    command = [program, "--port", str(port), "--silent", "--hardfork", "cancun"]
    if timestamp is not None:
        command += ["--timestamp", str(timestamp)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process, "Anvil")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
