"""Deploys the contracts and publishes a policy.

    python -m scripts.deploy --help
    brownie run deploy
    brownie run deploy --network sepolia

Through Brownie it goes to the network that Brownie is connected to, with the key that DULY_KEY_FILE names
(on local chains the development account 0), and takes no arguments.
"""

import sys

from duly.domain.errors import DulyError


def main() -> None:
    """What `brownie run` calls."""
    from brownie import network

    from duly.bootstrap import Application
    from duly.interfaces.cli._output import show_error
    from duly.interfaces.cli.deploy import ask_passphrase, run, wish_for

    try:
        application = Application.from_environment(rpc=network.web3.provider.endpoint_uri, ask=ask_passphrase)
        # A chain that Brownie started ends with this run: its record would only mislead.
        folder = None if network.rpc.is_child() else application.records
        run(application, wish_for("strict", templates=application.settings.templates), folder)
    except DulyError as error:
        show_error(error)
        sys.exit(1)


if __name__ == "__main__":
    from duly.interfaces.cli import app

    app(["deploy", *sys.argv[1:]], prog_name="python -m scripts.deploy")
