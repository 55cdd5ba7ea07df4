"""Run Slither over the contracts; fail on a finding that `docs/security.md` does not answer.

`make slither` starts it. There a section is headed by the kind of finding; its first paragraph names the
functions concerned, or begins with "Everywhere."; the answer follows. An answer to what is found no more
fails too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = ROOT / "docs/security.md"
OUTPUT = ROOT / "build/slither/findings.json"
SECTION = re.compile(r"^### `([a-z0-9-]+)`\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"`([\w.]+)`")
EVERYWHERE = "Everywhere."


def main() -> int:
    """Compare what is found with what is answered."""
    found = findings()
    answers = {kind: text.strip() for kind, text in SECTION.findall(ANSWERS.read_text(encoding="utf-8"))}
    open_, stale = [], []
    for kind in sorted(found.keys() | answers.keys()):
        text = answers.get(kind, "")
        if kind in found and text.startswith(EVERYWHERE):
            continue
        answered = set(PLACE.findall(text.split("\n\n")[0]))
        open_ += [f"{kind}: {place}" for place in sorted(found[kind] - answered)]
        stale += [f"{kind}: {place}" for place in sorted(answered - found[kind])]
        if kind not in found and not answered:
            stale.append(kind)
    total = sum(map(len, found.values()))
    print(f"Slither: {total} findings of {len(found)} kinds, {len(open_)} without an answer.")
    for problem in open_:
        print(f"not answered in docs/security.md: {problem}", file=sys.stderr)
    for problem in stale:
        print(f"found no more, but answered in docs/security.md: {problem}", file=sys.stderr)
    return 1 if open_ or stale else 0


def findings() -> dict[str, set[str]]:
    """The functions concerned, by the kind of finding."""
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.unlink(missing_ok=True)
    command = ["slither", ".", "--json", str(OUTPUT), "--filter-paths", "node_modules"]
    # Slither builds anew each time: the tests' build is left alone, and the mocks are left out.
    env = os.environ | {
        "FOUNDRY_OUT": "build/slither/out",
        "FOUNDRY_CACHE_PATH": "build/slither/cache",
        "FOUNDRY_SKIP": '["contracts/mocks/**"]',
    }
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if not OUTPUT.exists():
        raise SystemExit(run.stdout + run.stderr)
    found = defaultdict(set)
    for finding in json.loads(OUTPUT.read_text(encoding="utf-8"))["results"].get("detectors", []):
        found[finding["check"]].add(place(finding["elements"][0]))
    return found


def place(element: dict) -> str:
    """A function as `Contract.function`, or a contract."""
    parent = element.get("type_specific_fields", {}).get("parent", {})
    return f"{parent['name']}.{element['name']}" if parent.get("type") == "contract" else element["name"]


if __name__ == "__main__":
    sys.exit(main())
