"""The API, asked in all ways that its own document allows, and in some that it does not, by Schemathesis: no
error of the server, and no answer that is not as the document says.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from duly.interfaces.web.security import RATES, Rate
from duly.interfaces.web.server import answering
from duly.services import run
from duly.store.tokens import Purpose

ROOT = Path(__file__).resolve().parents[2]
SCHEMATHESIS = ROOT / "build/schemathesis/bin/schemathesis"
OFTEN = {kind: Rate(10**6, 10**6) for kind in RATES}


@pytest.mark.parametrize(("who", "there"), [("borrower", True), ("servicer", True), ("borrower", False)])
def test_the_api_answers_as_its_document_says(stage, tmp_path, who, there):
    one, _ = stage.lend(2)
    assert run.round(stage.app).delivered.sent == 2
    (notice,) = stage.app.read_model.notices(loan=one.loan)
    address = one.sender.address if who == "borrower" else stage.lender.address
    token = stage.app.tokens.make(address.lower(), Purpose.API, "books", int(time.time()))
    settings = tmp_path / "schemathesis.toml"
    known = f'[parameters]\n"path.loan" = "0x{one.loan.hex()}"\n"path.code" = "0x{notice.id.hex()}"\n'
    settings.write_text(known + '"path.number" = 1\n' if there else "")
    with answering(stage.app, OFTEN) as portal:
        done = subprocess.run(
            [
                *(SCHEMATHESIS, "--config-file", settings, "run", f"{portal}/api/v1/openapi.json"),
                *("--header", f"Authorization: Bearer {token}", "--seed", "1", "--max-examples", "25"),
                *("--generation-database", ":memory:", "--no-color", "--warnings", "off"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 11" in done.stdout
