"""The portal's scripts in the package are what web/ makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "duly/interfaces/web/static"


def test_the_bundles_are_what_their_sources_make(tmp_path):
    subprocess.run(["node", "web/build.mjs", str(tmp_path)], cwd=ROOT, check=True)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (STATIC / made.name).read_bytes(), f"{made.name}: run `npm run portal`"
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in STATIC.glob("*.js")}


def test_a_page_weighs_little():
    assert sum((STATIC / name).stat().st_size for name in ("app.js", "style.css", "icon.svg")) < 100_000
