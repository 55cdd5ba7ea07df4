"""Start Brownie with a home, a compiler, networks and a local chain of the project's own.

`make setup` puts this behind `.venv/bin/brownie`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "build/home"


def main() -> int | None:
    """Prepare the environment, then hand over to Brownie."""
    # Python puts this file's folder first on the path; Brownie adds the project's root by itself.
    sys.path[:] = [
        entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent
    ]
    os.environ["SOLCX_BINARY_PATH"] = os.environ.get("SOLCX_BINARY_PATH") or str(ROOT / "build/solc")
    ours = [str(ROOT / "build/bin"), str(ROOT / ".venv/bin")]
    os.environ["PATH"] = os.pathsep.join([*ours, os.environ.get("PATH", os.defpath)])

    # Brownie asks for its home once, while it is imported; everything else keeps the user's own.
    HOME.mkdir(parents=True, exist_ok=True)
    users_home = os.environ.get("HOME")
    os.environ["HOME"] = str(HOME)
    from brownie._cli.__main__ import main as brownie
    from brownie._config import CONFIG

    if users_home is None:
        del os.environ["HOME"]
    else:
        os.environ["HOME"] = users_home

    CONFIG.networks.update(networks())

    port = os.environ.get("DULY_ANVIL_PORT")
    if port is None and "test" in sys.argv[1:2]:
        # On a taken port Brownie attaches to whatever listens there: another test run's chain, say.
        port = str(free_port())
    if port:
        CONFIG.networks["development"]["cmd_settings"]["port"] = int(port)
    result: int | None = brownie()
    return result


def networks() -> dict[str, dict[str, object]]:
    """What `--network` knows besides Brownie's own, by name."""
    import yaml

    content = yaml.safe_load((ROOT / "network-config.yaml").read_text(encoding="utf-8"))
    entries = [each for group in content["live"] for each in group["networks"]]
    return {each["id"]: each | {"chainid": str(each["chainid"])} for each in entries}


def free_port() -> int:
    """A port that nothing listens on, kept from others for a minute as scripts/anvil.py does it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
        return port


if __name__ == "__main__":
    sys.exit(main())
