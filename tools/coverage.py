"""Tell which lines and branches of the contracts the Solidity tests run.

`make coverage` starts it. It copies the contracts to `build/coverage`, where every statement, and every
condition with its outcome, leaves a mark when it is run; then Forge runs the tests on that copy.

Forge's own `coverage` command reads the compiler's source map instead. The ledger compiles only through the
intermediate representation, whose map misses lines that were run; and it knows no branch for an `if` without
`else` that was never false, for `?:`, for `&&` and for `||`. All these are branches here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import solcx

from duly.chain.compiler import REMAPPINGS, ROOT, SOLC_VERSION, install_compiler

FOLDER = ROOT / "build/coverage"
MARKS = FOLDER / "hit"

# Every branch of these must have been taken.
COMPLETE = (
    "contracts/GrievanceDesk.sol",
    "contracts/LoanLedger.sol",
    "contracts/libraries/Amortization.sol",
)
UNMEASURED = ("contracts/interfaces/", "contracts/mocks/")

# A mark is an empty file: it outlives a revert, and any function can leave it, a pure one included.
MARKER = """\
// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

library Coverage {
    function hit(bytes4 mark) internal pure {
        function(bytes4) view marker = _leave;
        function(bytes4) pure pureMarker;
        assembly {
            pureMarker := marker
        }
        pureMarker(mark);
    }

    function branch(bool outcome, bytes4 whenTrue, bytes4 whenFalse) internal pure returns (bool) {
        hit(outcome ? whenTrue : whenFalse);
        return outcome;
    }

    function _leave(bytes4 mark) private view {
        bytes memory file = abi.encodePacked("build/coverage/hit/", mark);
        // Forge's cheat codes answer at this address.
        (bool done, ) = 0x7109709ECfa91a80626fF3989D68f67F5b1DD12D.staticcall(
            abi.encodeWithSignature("writeFile(string,string)", file, "")
        );
        require(done, "no mark could be left");
    }
}
"""


@dataclass(frozen=True)
class Branch:
    """One outcome of a condition, or a clause."""

    line: int
    text: str
    outcome: str
    mark: str


@dataclass
class Measured:
    """The spots of one file, by the marks that they leave."""

    lines: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    branches: list[Branch] = field(default_factory=list)


class Instrument:
    """Rewrites one source so that what is run leaves marks. No line is moved."""

    def __init__(self, source: str, tree: dict[str, Any], first_mark: int = 0) -> None:
        self.source = source.encode()
        self.measured = Measured()
        self.next_mark = first_mark
        self._around: list[tuple[int, int, str, str]] = []
        for node in walk(tree):
            self._visit(node)

    def text(self) -> str:
        """The rewritten source."""
        before: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        after: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        for start, end, prefix, suffix in self._around:
            before[start].append((-end, prefix))
            after[end].append((-start, suffix))
        parts, at = [], 0
        for place in sorted(before.keys() | after.keys()):
            parts.append(self.source[at:place])
            # What ends here is closed from the inside out, then what begins is opened from the outside in.
            parts += [text.encode() for _, text in sorted(after[place])]
            parts += [text.encode() for _, text in sorted(before[place])]
            at = place
        imported = '\nimport {Coverage} from "contracts/Coverage.sol";\n'
        return b"".join([*parts, self.source[at:]]).decode() + imported

    def _visit(self, node: dict[str, Any]) -> None:
        kind = node["nodeType"]
        if kind in ("Block", "UncheckedBlock"):
            for statement in node["statements"]:
                self._statement(statement)
        elif kind == "IfStatement":
            marks = self._condition(node["condition"])
            for body, mark in zip((node["trueBody"], node.get("falseBody")), marks, strict=True):
                if body and "statements" not in body:
                    self.measured.lines[self._line(body)].add(mark)
        elif kind in ("Conditional", "WhileStatement", "DoWhileStatement", "ForStatement"):
            if node.get("condition"):
                self._condition(node["condition"])
        elif is_compound(node):
            for operand in (node["leftExpression"], node["rightExpression"]):
                if not is_compound(operand):
                    self._condition(operand)
        elif kind == "FunctionCall" and node["expression"].get("name") in ("require", "assert"):
            self._condition(node["arguments"][0])
        elif kind == "TryCatchClause":
            mark = self._mark()
            start, _ = span(node["block"])
            self._around.append((start + 1, start + 1, f'Coverage.hit("{mark}"); ', ""))
            self.measured.branches.append(Branch(self._line(node), "clause of a try", "run", mark))

    def _statement(self, node: dict[str, Any]) -> None:
        if node["nodeType"] in ("Block", "UncheckedBlock", "PlaceholderStatement"):
            return
        mark = self._mark()
        start, end = span(node)
        self._around.append((start, end, f'Coverage.hit("{mark}"); ', ""))
        self.measured.lines[self._line(node)].add(mark)

    def _condition(self, node: dict[str, Any]) -> tuple[str, str]:
        when_true, when_false = self._mark(), self._mark()
        start, end = span(node)
        self._around.append((start, end, "Coverage.branch(", f', "{when_true}", "{when_false}")'))
        text = " ".join(self.source[start:end].decode().split())
        for outcome, mark in (("true", when_true), ("false", when_false)):
            self.measured.branches.append(Branch(self._line(node), text, outcome, mark))
        return when_true, when_false

    def _mark(self) -> str:
        self.next_mark += 1
        return f"{self.next_mark:04}"

    def _line(self, node: dict[str, Any]) -> int:
        return self.source.count(b"\n", 0, span(node)[0]) + 1


def walk(tree: Any, inside: bool = False) -> Iterator[dict[str, Any]]:
    """What functions and modifiers are made of, assembly apart."""
    if isinstance(tree, list):
        for node in tree:
            yield from walk(node, inside)
    elif isinstance(tree, dict) and tree.get("nodeType") != "InlineAssembly":
        if inside and "nodeType" in tree:
            yield tree
        defines = tree.get("nodeType") in ("FunctionDefinition", "ModifierDefinition")
        for child in [tree.get("body")] if defines else tree.values():
            yield from walk(child, inside or defines)


def is_compound(node: dict[str, Any]) -> bool:
    """Whether its right side may not be run."""
    return node["nodeType"] == "BinaryOperation" and node["operator"] in ("&&", "||")


def span(node: dict[str, Any]) -> tuple[int, int]:
    """Where a node starts and ends, in bytes."""
    start, length, _ = map(int, node["src"].split(":"))
    return start, start + length


def syntax_trees(sources: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The compiler's reading of each file, by its path."""
    install_compiler()
    question = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in sources.items()},
        "settings": {
            "remappings": [f"{prefix}={target}" for prefix, target in REMAPPINGS.items()],
            "outputSelection": {"*": {"": ["ast"]}},
        },
    }
    folders = [ROOT / target for target in REMAPPINGS.values()]
    answer = solcx.compile_standard(question, solc_version=SOLC_VERSION, base_path=ROOT, allow_paths=folders)
    return {path: answer["sources"][path]["ast"] for path in sources}


def instrument() -> dict[str, Measured]:
    """Write the copy, and tell what each of its files can leave marks of."""
    shutil.rmtree(FOLDER / "contracts", ignore_errors=True)
    shutil.rmtree(MARKS, ignore_errors=True)
    MARKS.mkdir(parents=True)
    shutil.copytree(ROOT / "contracts", FOLDER / "contracts")
    (FOLDER / "contracts/Coverage.sol").write_text(MARKER, encoding="utf-8")
    every = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "contracts").rglob("*.sol"))
    sources = {
        path: (ROOT / path).read_text(encoding="utf-8") for path in every if not path.startswith(UNMEASURED)
    }
    measured, marks = {}, 0
    for path, tree in syntax_trees(sources).items():
        rewritten = Instrument(sources[path], tree, marks)
        (FOLDER / path).write_text(rewritten.text(), encoding="utf-8")
        measured[path], marks = rewritten.measured, rewritten.next_mark
    return measured


def main() -> int:
    """Measure, print, and fail where a branch that must be taken was not."""
    measured = instrument()
    env = os.environ | {"FOUNDRY_PROFILE": "coverage"}
    tests = subprocess.run(["forge", "test"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if tests.returncode:
        print(tests.stdout, tests.stderr, file=sys.stderr)
        return 1
    marks = {path.name for path in MARKS.iterdir()}
    print(f"{'':40}{'lines':>18}{'branches':>18}")
    for path, file in measured.items():
        lines = sum(1 for wanted in file.lines.values() if wanted & marks)
        branches = sum(1 for branch in file.branches if branch.mark in marks)
        print(f"{path:40}{share(lines, len(file.lines)):>18}{share(branches, len(file.branches)):>18}")
    missed = [
        f"{path}:{branch.line}: never {branch.outcome}: {branch.text}"
        for path in COMPLETE
        for branch in measured[path].branches
        if branch.mark not in marks
    ]
    for branch in missed:
        print(branch, file=sys.stderr)
    return 1 if missed else 0


def share(part: int, whole: int) -> str:
    """As `12/34  35.3 %`."""
    return f"{part}/{whole} {100 * part / whole if whole else 100:6.1f} %"


if __name__ == "__main__":
    sys.exit(main())
