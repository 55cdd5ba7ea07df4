"""Deploys the contracts and publishes a policy.

    python -m scripts.deploy --help
    brownie run deploy
    brownie run deploy main deployer 0x1c7D… --network sepolia

Both do what `duly deploy` does. Through Brownie it goes to the network that Brownie is connected to. The
words after `main` are the account that pays (`brownie accounts list`), the token that loans are in, and the
policy; left out, they are what `duly deploy` takes without its options.
"""

import sys

from duly.domain.errors import DulyError


def main(account: str | None = None, currency: str | None = None, policy: str = "strict") -> None:
    """What `brownie run` calls."""
    from brownie import network

    from duly.interfaces.cli._output import show_error
    from duly.interfaces.cli.deploy import application_for, run, wish_for

    try:
        application = application_for(network.web3.provider.endpoint_uri, account)
        # A chain that Brownie started ends with this run: its record would only mislead.
        folder = None if network.rpc.is_child() else application.records
        run(application, wish_for(policy, currency, templates=application.settings.templates), folder)
    except DulyError as error:
        show_error(error)
        sys.exit(1)


if __name__ == "__main__":
    from duly.interfaces.cli import app

    app(["deploy", *sys.argv[1:]], prog_name="python -m scripts.deploy")
