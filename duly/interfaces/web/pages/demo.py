"""A wallet for the demonstration: keys that everyone may know, on a chain where nothing is worth anything.

None of this exists unless the portal was started with `--demo`, and it only starts so on a local chain.
"""

from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account
from eth_utils.address import to_checksum_address
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response
from web3.types import RPCEndpoint

from duly.chain import networks
from duly.chain.errors import KeyRefused
from duly.interfaces.web.visit import AnyVisit, Visit

METHODS: Final = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_estimateGas",
        "eth_feeHistory",
        "eth_gasPrice",
        "eth_getBalance",
        "eth_getBlockByNumber",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "eth_sendRawTransaction",
    }
)
"""What a wallet asks a node; nothing that moves the chain's time or its accounts."""

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to be in the demonstration. loans: how many they borrowed."""

    name: str
    address: str
    key: str
    loans: int
    lends: bool
    supervises: bool


def check_local(chain_id: int) -> None:
    """Refuse to hand out keys on any other chain than a local one. Raises: KeyRefused."""
    if not networks.is_local(chain_id):
        raise KeyRefused(
            f"the demo wallet's keys are known to everyone: not on chain {networks.chain_name(chain_id)}",
            wanted="a local chain",
            remedy="Start without --demo.",
        )


def people(visit: Visit) -> list[Person]:
    """Whom one can be: who has a loan, lends or supervises, of those whose keys are known."""
    check_local(visit.portal.chain_id)
    found = []
    for name, key in (visit.site.demo_keys or {}).items():
        address = Account.from_key(key).address.lower()
        count = len(visit.portal.loans_of(address))
        lends = visit.portal.serves(address)
        supervises = address in visit.app.settings.web.officers | visit.app.settings.web.auditors
        if count or lends or supervises:
            found.append(Person(name, to_checksum_address(address), key, count, lends, supervises))
    return found


@router.get("/demo/wallets.json")
def wallets(visit: AnyVisit) -> Response:
    return JSONResponse([{"address": each.address, "key": each.key} for each in people(visit)])


class Question(BaseModel):
    """A request to the node."""

    id: int | str | None = None
    method: str
    params: list[Any] = Field(default_factory=list)


@router.post("/rpc")
def rpc(visit: AnyVisit, question: Question) -> Response:
    check_local(visit.portal.chain_id)
    head = {"jsonrpc": "2.0", "id": question.id}
    if question.method not in METHODS:
        return JSONResponse({**head, "error": {"code": -32601, "message": "not for wallets"}}, 403)
    answer = visit.app.w3.provider.make_request(RPCEndpoint(question.method), question.params)
    return JSONResponse({**head, **{key: answer[key] for key in ("result", "error") if key in answer}})
