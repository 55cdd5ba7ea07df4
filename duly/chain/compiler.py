"""The one Solidity compiler, and the artifacts it makes of `contracts/`.

Brownie, the scripts and the tests all use the compiler that :func:`install_compiler` puts into
`build/solc`: the native one through py-solc-x, or npm's in its place where the download host cannot be
reached. Both give the same bytecode.

An artifact is a JSON file in `duly/chain/artifacts`, committed, so that the package runs without a compiler.
It carries the hash of everything it was made of, so that a stale one is found without compiling
(:func:`stale_artifacts`).

From a checkout: ``python -m duly.chain.compiler [install | check | write]``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

__all__ = [
    "ARTIFACTS",
    "EVM_VERSION",
    "OPTIMIZER",
    "REMAPPINGS",
    "ROOT",
    "SOLC_BUILD",
    "SOLC_VERSION",
    "VIA_IR",
    "Artifact",
    "CompileError",
    "compile_contracts",
    "install_compiler",
    "read_artifact",
    "source_commit",
    "source_hashes",
    "stale_artifacts",
    "standard_input",
    "write_artifacts",
]

ROOT: Final = Path(__file__).resolve().parents[2]
ARTIFACTS: Final = Path(__file__).resolve().parent / "artifacts"

# `brownie-config.yaml` says the same; a test holds the two together.
SOLC_VERSION: Final = "0.8.37"
SOLC_BUILD: Final = "0.8.37+commit.f401782d"
"""As explorers name it, who verify with it."""
EVM_VERSION: Final = "cancun"  # OpenZeppelin 5.7 needs `mcopy`
OPTIMIZER: Final[Mapping[str, object]] = {"enabled": True, "runs": 200}
VIA_IR: Final = True
REMAPPINGS: Final[Mapping[str, str]] = {
    "@openzeppelin/": "node_modules/@openzeppelin/",
    "solady/": "node_modules/solady/src/",
}

_DOWNLOADS: Final = "https://binaries.soliditylang.org"
_STAND_IN: Final = "tools/solc.cjs"
_OUTPUT: Final = ("abi", "storageLayout", "evm.bytecode", "evm.deployedBytecode")

# Comments and strings first, so that nothing inside them is taken for code.
_SKIPPED = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_IMPORT = re.compile(r"""\bimport\b[^;"']*["']([^"']+)["']""")
_DEFINED = re.compile(
    r"^[ \t]*(?:abstract\s+)?(contract|interface|library)\s+([A-Za-z_$][\w$]*)", re.MULTILINE
)


class CompileError(Exception):
    """The contracts do not compile."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is kept of one compiled contract; for an interface the bytecode is empty."""

    name: str
    source: str
    abi: list[dict[str, Any]]
    source_hash: str
    bytecode: str = "0x"
    deployed_bytecode: str = "0x"
    storage_layout: dict[str, Any] | None = None
    immutables: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    links: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The file's text: the same for the same contract, wherever it was compiled."""
        content: dict[str, Any] = {
            "contractName": self.name,
            "sourceName": self.source,
            "sourceHash": self.source_hash,
            "abi": self.abi,
            "bytecode": self.bytecode,
            "deployedBytecode": self.deployed_bytecode,
        }
        if self.immutables:
            content["immutableReferences"] = self.immutables
        if self.links:
            content["linkReferences"] = self.links
        if self.storage_layout is not None:
            content["storageLayout"] = self.storage_layout
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


# --- the compiler ---------------------------------------------------------------------------------


def install_compiler(root: Path = ROOT) -> str:
    """Have the pinned compiler in place; tell in one line which one it is.

    The native one is downloaded where that is possible; else npm's stands in for it.
    """
    folder = _compiler_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    executable = folder / f"solc-v{SOLC_VERSION}"
    if (executable.exists() and _stands_in(executable)) or (
        not executable.exists() and not _download(folder)
    ):
        _write_stand_in(executable, root)
        return f"Solidity {SOLC_VERSION}: npm's compiler stands in; the native one could not be downloaded."
    return f"Solidity {SOLC_VERSION}: native compiler."


def _compiler_folder(root: Path) -> Path:
    """Where py-solc-x looks, in this process and in those that it starts."""
    return Path(os.environ.setdefault("SOLCX_BINARY_PATH", str(root / "build" / "solc")))


def _download(folder: Path) -> bool:
    """Fetch the native compiler; False where its host cannot be reached."""
    import requests
    import solcx

    try:
        # py-solc-x waits without end; so ask first.
        requests.head(_DOWNLOADS, timeout=5)
        solcx.install_solc(SOLC_VERSION, show_progress=False, solcx_binary_path=folder)
    except (requests.RequestException, OSError, solcx.exceptions.SolcInstallationError):
        (folder / f"solc-v{SOLC_VERSION}").unlink(missing_ok=True)
        return False
    return True


def _write_stand_in(executable: Path, root: Path) -> None:
    package = root / "node_modules" / "solc" / "package.json"
    if not package.exists():
        raise FileNotFoundError("npm's solc is missing too: run `make setup`.")
    found = json.loads(package.read_text(encoding="utf-8"))["version"]
    if found != SOLC_VERSION:
        raise CompileError(f"npm's solc is {found}, wanted {SOLC_VERSION}: run `make setup`.")
    # `build/bin` holds node where the machine has none.
    bin_folder, script = shlex.quote(str(root / "build" / "bin")), shlex.quote(str(root / _STAND_IN))
    text = f'#!/bin/sh\nPATH={bin_folder}:$PATH exec node --stack-size=8000 {script} "$@"\n'
    executable.write_text(text, encoding="utf-8")
    executable.chmod(0o755)


def _stands_in(executable: Path) -> bool:
    with executable.open("rb") as file:
        return file.read(2) == b"#!"


# --- compiling ------------------------------------------------------------------------------------


def compile_contracts(root: Path = ROOT) -> dict[str, Artifact]:
    """Compile all of `contracts/`; the artifacts by name.

    Raises:
        CompileError: with the compiler's own messages.
    """
    import solcx

    install_compiler(root)
    hashes = source_hashes(root)
    paths = sorted(path.relative_to(root).as_posix() for path in (root / "contracts").rglob("*.sol"))
    question = {
        "language": "Solidity",
        "sources": {path: {"content": _text(root / path)} for path in paths},
        "settings": _settings() | {"outputSelection": {"*": {"*": list(_OUTPUT), "": []}}},
    }
    try:
        answer = solcx.compile_standard(
            question,
            solc_version=SOLC_VERSION,
            base_path=root,
            allow_paths=[root / target for target in REMAPPINGS.values()],
        )
    except solcx.exceptions.SolcError as error:
        raise CompileError(_messages(error)) from error

    artifacts = {}
    for path, contracts in answer["contracts"].items():
        for name, output in contracts.items():
            if path in paths and name in hashes and hashes[name][0] == path:
                artifacts[name] = _artifact(name, path, output, hashes[name][1])
    return dict(sorted(artifacts.items()))


def standard_input(name: str, root: Path = ROOT) -> dict[str, Any]:
    """What to ask the compiler for one contract: its sources, and all that they import, written out.

    It makes the very bytecode of the artifact, anywhere: explorers verify with it.

    Raises:
        CompileError: when the sources are not there, or make another artifact than the one that is used.
    """
    if not (root / "contracts").is_dir():
        raise CompileError(f"There are no sources in {root}: this needs a checkout.")
    artifact = read_artifact(name)
    if source_hashes(root)[name] != (artifact.source, artifact.source_hash):
        raise CompileError(f"{artifact.source} changed since its artifact was made: run `make artifacts`.")
    sources: dict[str, dict[str, str]] = {}
    waiting = [artifact.source]
    while waiting:
        unit = waiting.pop()
        if unit in sources:
            continue
        if not (root / unit).is_file():
            raise CompileError(f"{unit} is missing: run `make setup`.")
        sources[unit] = {"content": _text(root / unit)}
        waiting += [_unit(imported, unit) for imported in _IMPORT.findall(_code(root / unit))]
    output = {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode", "metadata"]}}
    return {
        "language": "Solidity",
        "sources": dict(sorted(sources.items())),
        "settings": _settings() | {"outputSelection": output},
    }


def _unit(imported: str, importer: str) -> str:
    """The name under which the compiler knows an imported file."""
    if imported.startswith("."):
        return os.path.normpath(PurePosixPath(importer).parent / imported).replace(os.sep, "/")
    for prefix, target in REMAPPINGS.items():
        if imported.startswith(prefix):
            return target + imported.removeprefix(prefix)
    return imported


def source_commit(root: Path = ROOT) -> str | None:
    """The commit that the contracts are of, with `+changes` where they were changed since; None where this is
    no checkout.
    """
    import subprocess

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    if not (root / ".git").exists():
        return None
    try:
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", "contracts", ARTIFACTS.relative_to(root).as_posix())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return commit + ("+changes" if changed else "")


def _settings() -> dict[str, Any]:
    # In the form and order in which Brownie gives them, for the bytecode's last bytes hash them too.
    return {
        "evmVersion": EVM_VERSION,
        "remappings": [f"{prefix}={target}" for prefix, target in REMAPPINGS.items()],
        "optimizer": dict(OPTIMIZER),
        "viaIR": VIA_IR,
    }


def _messages(error: Exception) -> str:
    output = getattr(error, "stdout_data", None)
    try:
        errors = json.loads(output or "")["errors"]
    except (ValueError, KeyError):
        return str(error)
    return "\n".join(item["formattedMessage"] for item in errors if item["severity"] == "error")


def _artifact(name: str, source: str, output: Mapping[str, Any], source_hash: str) -> Artifact:
    evm = output["evm"]
    layout = output.get("storageLayout")
    return Artifact(
        name=name,
        source=source,
        abi=output["abi"],
        source_hash=source_hash,
        bytecode="0x" + evm["bytecode"]["object"],
        deployed_bytecode="0x" + evm["deployedBytecode"]["object"],
        storage_layout=_plain_layout(layout) if layout and layout["storage"] else None,
        immutables=_plain_immutables(evm["deployedBytecode"].get("immutableReferences", {})),
        links=evm["bytecode"].get("linkReferences", {}),
    )


def _plain_immutables(references: Mapping[str, list[dict[str, int]]]) -> dict[str, list[dict[str, int]]]:
    """The places of immutables, numbered in their order of appearance.

    The compiler numbers them by the syntax tree, which changes with any other source.
    """
    ordered = sorted(
        references.values(), key=lambda places: [(place["start"], place["length"]) for place in places]
    )
    return {str(number): places for number, places in enumerate(ordered)}


def _plain_layout(layout: Mapping[str, Any]) -> dict[str, Any]:
    """The storage layout without the numbers of the syntax tree, which change with any other source."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {plain(key): plain(item) for key, item in value.items() if key != "astId"}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return (
            re.sub(r"(t_(?:struct|enum|contract|userDefinedValueType)\([^()]*\))\d+", r"\1", value)
            if isinstance(value, str)
            else value
        )

    result: dict[str, Any] = plain(layout)
    return result


# --- artifacts ------------------------------------------------------------------------------------


def write_artifacts(artifacts: Mapping[str, Artifact], folder: Path = ARTIFACTS) -> list[str]:
    """Write what changed, remove what is gone; the names of both."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, artifact in artifacts.items():
        path, text = folder / f"{name}.json", artifact.to_json()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    for path in folder.glob("*.json"):
        if path.stem not in artifacts:
            path.unlink()
            changed.append(path.stem)
    return sorted(changed)


def read_artifact(name: str, folder: Path = ARTIFACTS) -> Artifact:
    """Read one artifact.

    Raises:
        FileNotFoundError: when there is no contract of that name.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"There is no artifact of a contract {name!r} in {folder}.")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Artifact(
        name=content["contractName"],
        source=content["sourceName"],
        abi=content["abi"],
        source_hash=content["sourceHash"],
        bytecode=content["bytecode"],
        deployed_bytecode=content["deployedBytecode"],
        storage_layout=content.get("storageLayout"),
        immutables=content.get("immutableReferences", {}),
        links=content.get("linkReferences", {}),
    )


def stale_artifacts(root: Path = ROOT, folder: Path = ARTIFACTS) -> list[str]:
    """The contracts whose artifact is missing, left over, or made of other sources. Nothing is compiled."""
    wanted = {name: source_hash for name, (_, source_hash) in source_hashes(root).items()}
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["sourceHash"]
        for path in folder.glob("*.json")
    }
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def source_hashes(root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """By the name of each contract that gets an artifact: its file, and the hash of all that it is made of.

    That is the file, those it imports, the versions of the libraries that they import, and the settings.
    """
    hashes: dict[str, tuple[str, str]] = {}
    contracts = root / "contracts"
    for path in sorted(
        [*contracts.glob("*.sol"), *contracts.glob("interfaces/*.sol"), *contracts.glob("mocks/*.sol")]
    ):
        name_of_file = path.relative_to(root).as_posix()
        for kind, name in _DEFINED.findall(_code(path)):
            if kind == "library":
                continue  # ours are all internal: they live in the contracts that use them
            if name in hashes:
                raise CompileError(f"{name} is defined in {hashes[name][0]} and in {name_of_file}.")
            hashes[name] = (name_of_file, _hash_of(path, root))
    return hashes


def _hash_of(path: Path, root: Path) -> str:
    files, libraries = _closure(path, root)
    settings = {"compiler": SOLC_VERSION, **_settings(), "libraries": _library_versions(root, libraries)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for file in sorted(files):
        digest.update(f"\0{file.relative_to(root).as_posix()}\0{_text(file)}".encode())
    return digest.hexdigest()


def _closure(path: Path, root: Path) -> tuple[set[Path], set[str]]:
    """The project's own files that one file is made of, and the libraries that they import."""
    files: set[Path] = set()
    libraries: set[str] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in files:
            continue
        files.add(file)
        for imported in _IMPORT.findall(_code(file)):
            prefix = next((prefix for prefix in REMAPPINGS if imported.startswith(prefix)), None)
            if prefix is not None:
                libraries.add(prefix)
                continue
            target = (file.parent if imported.startswith(".") else root) / PurePosixPath(imported)
            if not target.is_file():
                raise CompileError(f"{file.relative_to(root)} imports {imported}, which is not there.")
            waiting.append(target.resolve())
    return files, libraries


def _library_versions(root: Path, prefixes: Iterable[str]) -> dict[str, str]:
    """Libraries come from npm at exact versions, so that a version stands for all its files."""
    manifest = json.loads(_text(root / "package.json"))
    wanted: dict[str, str] = {**manifest.get("dependencies", {}), **manifest.get("devDependencies", {})}
    return {
        name: version
        for name, version in sorted(wanted.items())
        if any(f"{name}/".startswith(prefix) for prefix in prefixes)
    }


@cache
def _code_of(text: str) -> str:
    return _SKIPPED.sub(" ", text)


def _code(path: Path) -> str:
    return _code_of(_text(path))


def _text(path: Path) -> str:
    # Universal newlines: a checkout with CRLF is the same source.
    return path.read_text(encoding="utf-8")


# --- command --------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """`install` the compiler, `check` that the artifacts are fresh, or `write` them."""
    command = arguments[0] if arguments else "write"
    if command == "install":
        print(install_compiler())
    elif command == "check":
        stale = stale_artifacts()
        if stale:
            print(f"Stale, run `make artifacts`: {', '.join(stale)}")
            return 1
        print("All artifacts are fresh.")
    elif command == "write":
        try:
            changed = write_artifacts(compile_contracts())
        except CompileError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"Written: {', '.join(changed)}" if changed else "All artifacts were fresh.")
    else:
        print("usage: python -m duly.chain.compiler [install | check | write]", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
