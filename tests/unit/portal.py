"""A portal with loans to two borrowers, on a chain that is not there, and browsers that visit it."""

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from fastapi.testclient import TestClient
from history import CONTACT, LENDING, START
from scene import LENDER, SERVICER, a_loan
from web3 import Web3
from web3.providers import BaseProvider

from duly.bootstrap import Application
from duly.chain.deployments import CONTRACTS, Currency, DeployedContract, Deployment
from duly.config import Settings, Web
from duly.domain.events import Block, Event, LoanOpened, Logged, PolicyPublished, ServicerAppointed
from duly.domain.loan import Loan
from duly.interfaces.web import create_app
from duly.interfaces.web.security import RATES, Rate
from duly.store.readmodel import Identity

ORIGIN = "http://portal.example"
OFTEN = {kind: Rate(10_000, 10_000) for kind in RATES}

opened: "WeakSet[Scene]" = WeakSet()
"""Those that are still somewhere."""


def new_database() -> str:
    """The address of an empty one. On PostgreSQL, another function takes this one's place."""
    return "sqlite://"


def wallet(number: int) -> LocalAccount:
    """Somebody's wallet."""
    found: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return found


ANA, BO, OFFICER, AUDITOR = map(wallet, range(1, 5))


def deployment(chain_id: int = 31337) -> Deployment:
    """A record of contracts that are nowhere."""
    contract = {"block": 1, "transaction": "0x" + "7a" * 32, "source_hash": "s"}
    return Deployment(
        chain_id=chain_id,
        genesis="0x" + "67" * 32,
        currency=Currency(address="0x" + "cc" * 20, decimals=2, symbol="TUSD"),
        contracts={
            name: DeployedContract(address=f"0x{number + 0xC0:040x}", **contract)  # type: ignore[arg-type]
            for number, name in enumerate(CONTRACTS)
        },
    )


class NoNode(BaseProvider):
    """Nobody answers."""

    def make_request(self, method: Any, params: Any) -> Any:
        raise ConnectionError


class Scene:
    """The portal, its read model, and who visits."""

    def __init__(
        self,
        *,
        chain_id: int = 31337,
        origin: str = ORIGIN,
        rates: Mapping[str, Rate] = OFTEN,
        demo_keys: Mapping[str, str] | None = None,
    ) -> None:
        lower = frozenset({OFFICER.address.lower()}), frozenset({AUDITOR.address.lower()})
        web = Web(origin=origin, officers=lower[0], auditors=lower[1])
        settings = Settings(database=new_database(), vault="sqlite://", web=web)
        self.origin = origin
        self.app = Application(settings, w3=Web3(NoNode()), deployment=deployment(chain_id))
        self.app.chain_id = chain_id
        self.model = self.app.read_model
        genesis = Block(0, b"g" * 32, START)
        self.model.start(
            Identity(chain_id, genesis.hash, self.app.deployment.address_of("LoanLedger"), 1), genesis
        )
        self.tell(
            PolicyPublished(1, LENDER, LENDING, CONTACT, b"t" * 32, b"p" * 32),
            ServicerAppointed(LENDER, SERVICER),
        )
        self.web = create_app(self.app, rates=rates, demo_keys=demo_keys)
        opened.add(self)

    def tell(self, *told: Event, at: int = START) -> None:
        """Let the chain tell something in its next block."""
        after = self.model.cursor().block
        block = Block(after.number + 1, bytes([after.number + 1]) * 32, at)
        logged = [Logged(each, block.number, block.hash, at, b"t" * 32, n) for n, each in enumerate(told)]
        self.model.apply(logged, after, block)

    @property
    def ana(self) -> Loan:
        """Ana's loan."""
        return self.model.loans(borrower=ANA.address.lower())[0]

    @property
    def bo(self) -> Loan:
        """Bo's loan."""
        return self.model.loans(borrower=BO.address.lower())[0]

    def lend(self, to: LocalAccount, number: int = 1, **changes: Any) -> Loan:
        """A loan to somebody."""
        loan = a_loan(number=number, borrower=to.address.lower(), **changes)
        self.tell(LoanOpened(loan.id, loan.terms, loan.instalment, loan.total), at=loan.opened_at)
        return loan

    def browser(self, **headers: str) -> TestClient:
        """Somebody's browser, which says where it sends forms from."""
        return TestClient(
            self.web,
            base_url=self.origin,
            headers={"origin": self.origin, "sec-fetch-site": "same-origin", **headers},
            follow_redirects=False,
            raise_server_exceptions=False,
        )

    def signed_in(self, who: LocalAccount, **headers: str) -> TestClient:
        """The same, signed in; its requests carry what forms do."""
        browser = self.browser(**headers)
        answer = sign_in(browser, who)
        assert answer.status_code == 200, answer.text
        csrf = self.csrf(browser)
        browser.headers["x-csrf-token"] = csrf
        return browser

    def csrf(self, browser: TestClient) -> str:
        """What the browser's own pages carry."""
        page = browser.get("/loans").text
        return page.partition('<meta name="csrf" content="')[2].partition('"')[0]


def sign_in(
    browser: TestClient,
    who: LocalAccount,
    change: Callable[[str], str] = lambda message: message,
    **more: str,
) -> Any:
    """Sign in, with the message changed before it is signed."""
    made = browser.post("/sign-in/message", json={"address": who.address})
    assert made.status_code == 200, made.text
    message = change(made.json()["message"])
    return browser.post("/sign-in", json={"message": message, "signature": sign(who, message)} | more)


def sign(who: LocalAccount, message: str) -> str:
    """A signature as a wallet gives it."""
    return "0x" + bytes(who.sign_message(encode_defunct(text=message)).signature).hex()
