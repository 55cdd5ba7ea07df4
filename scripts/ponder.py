"""Holds the indexer against Ponder, on the same events of the same chain.

    python -m scripts.ponder [--events 20000]

Ponder is fetched from npm into a directory that is thrown away. What it is asked for is less than what Duly
keeps: for each loan what was paid, no events and no history. Neither has to wait for blocks.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from web3.types import RPCEndpoint

from duly.chain import compiler, networks
from duly.domain.errors import DulyError
from duly.services import bench, index
from duly.services.bench import anvil
from duly.services.machine import machine
from duly.store.readmodel import Identity, ReadModel
from scripts.anvil import free_port

PROJECT = Path(__file__).with_name("ponder_project")
PATIENCE = 1_800.0


class PonderFails(DulyError):
    """Ponder does not do what it was asked for."""


def by_ponder(url: str, storm: str, first: int, chain_id: int, folder: Path) -> tuple[float, dict[str, int]]:
    """Seconds until it has read everything, from its start and without the time it takes to begin; and what
    it found.
    """
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    abi = json.dumps(compiler.read_artifact("ILoanLedger").abi)
    (folder / "ledger.ts").write_text(f"export const abi = {abi} as const;\n", encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        raise PonderFails("there is no npm to fetch Ponder with", remedy="Run `make setup`.")
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    port = free_port()
    environment = os.environ | {
        "RPC": url,
        "LEDGER": storm,
        "FIRST_BLOCK": str(first),
        "CHAIN_ID": str(chain_id),
        "PONDER_TELEMETRY_DISABLED": "true",
    }
    command = [npm, "exec", "--", "ponder", "start", "--schema", "bench", "--port", str(port)]
    with (folder / "ponder.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            begun = _until(process, f"http://127.0.0.1:{port}/health", folder)
            done = _until(process, f"http://127.0.0.1:{port}/ready", folder)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/found", timeout=60) as answer:
                found = {name: int(value) for name, value in json.load(answer).items()}
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)
    return done - begun, found


def _until(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> float:
    """When it first answered well."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.monotonic()
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    log = (folder / "ponder.log").read_text(errors="replace")[-2_000:]
    raise PonderFails(f"Ponder ended, or took too long; it said last:\n{log}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000, help="how many events; 20000 by default")
    events: int = parser.parse_args().events
    with anvil() as url, tempfile.TemporaryDirectory() as folder:
        w3 = networks.connect(url)
        storm, before, loans = bench.tell(w3, events)
        first, chain_id = before.number + 1, w3.eth.chain_id
        # Ponder reads what is final first, and is ready then.
        w3.provider.make_request(RPCEndpoint("anvil_mine"), [hex(200)])
        seconds, found = by_ponder(url, storm, first, chain_id, Path(folder) / "ponder")
        wanted = {"loans": loans, "payments": events - loans}
        if found != wanted:
            raise PonderFails(f"it found {found}, not {wanted}")
        model = ReadModel.open(f"sqlite:///{folder}/duly.db")
        source = index.Source(Identity(chain_id, b"bench", storm, first), (storm,))
        model.start(source.identity, before)
        start = time.monotonic()
        index.Indexer(w3, source, model, "latest").run()
        ours = time.monotonic() - start
        assert model.count_loans() == loans
        model.engine.dispose()
    print(f"{events:,} events, {loans:,} loans, on {machine()}")
    print(f"Ponder  {seconds:8.2f} s  {events / seconds:10,.0f} a second")
    print(f"Duly    {ours:8.2f} s  {events / ours:10,.0f} a second, {seconds / ours:.1f} times as many")
    return 0


if __name__ == "__main__":
    sys.exit(main())
