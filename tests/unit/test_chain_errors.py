"""What a contract or a node refuses, in words."""

import ast
from pathlib import Path

import pytest
from eth_abi import encode
from eth_utils import keccak
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import HTTPError
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError, Web3RPCError

from duly.chain import errors
from duly.chain.errors import (
    ChainUnavailable,
    ContractError,
    InsufficientFunds,
    NodeError,
    decode_refusal,
    explain,
    explained,
    known_errors,
)
from duly.domain.loan import Status
from duly.domain.notice import Refusal

LOAN = bytes(range(32))


def refusal(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    return keccak(text=signature)[:4] + encode(types.split(",") if types else [], values)


CAP = refusal("AprAboveCap(uint256,uint256,uint256)", 101_000, 100_000, 240_000)


def test_names_and_arguments() -> None:
    error = decode_refusal(CAP, "LoanLedger.open")
    assert error.name == "AprAboveCap"
    assert error.arguments == {"worth": 101_000, "received": 100_000, "cap": 240_000}
    assert str(error) == (
        "LoanLedger.open: the annual percentage rate, fees included, exceeds the policy's cap: "
        "AprAboveCap(worth 101000, received 100000, cap 240000)"
    )


def test_enumerations_by_name() -> None:
    error = decode_refusal(refusal("Refused(uint8,uint256,uint256)", Refusal.OUTSIDE_HOURS, 5, 6))
    assert error.arguments == {"reason": Refusal.OUTSIDE_HOURS, "actual": 5, "required": 6}
    assert "reason OUTSIDE_HOURS, actual 5, required 6" in str(error)
    error = decode_refusal(refusal("LoanNotActive(bytes32,uint8)", LOAN, 2))
    assert error.arguments == {"id": LOAN, "status": Status.REPAID}
    assert f"id 0x{LOAN.hex()}, status REPAID" in str(error)
    # One that this version does not know stays a number.
    assert decode_refusal(refusal("Refused(uint8,uint256,uint256)", 200, 0, 0)).arguments["reason"] == 200


def test_addresses_and_names_of_fields() -> None:
    error = decode_refusal(refusal("NotBorrower(address,address)", "0x" + "AB" * 20, "0x" + "cd" * 20))
    assert error.arguments == {"sender": "0x" + "ab" * 20, "borrower": "0x" + "cd" * 20}
    field = b"perDay".ljust(32, b"\0")
    error = decode_refusal(refusal("LimitOutOfBounds(bytes32,uint256,uint256,uint256)", field, 9, 1, 7))
    assert "field perDay, value 9, least 1, most 7" in str(error)


def test_refusals_in_words_panics_and_nothing() -> None:
    assert decode_refusal(refusal("Error(string)", "no, thank you")).reason == "no, thank you"
    assert decode_refusal(refusal("Panic(uint256)", 0x11)).reason == "an amount is out of range (Panic 0x11)"
    assert "without a reason" in decode_refusal(b"").reason
    unknown = decode_refusal(b"\xde\xad\xbe\xef")
    assert (unknown.name, unknown.arguments) == ("", {"data": b"\xde\xad\xbe\xef"})
    assert "0xdeadbeef" in str(unknown)
    # A known selector with too few arguments is told as it is.
    assert decode_refusal(CAP[:20]).arguments == {"data": CAP[:20]}


@pytest.mark.parametrize(
    "error",
    [
        ContractCustomError("0x" + CAP.hex(), data="0x" + CAP.hex()),
        ContractLogicError("execution reverted", data={"data": "0x" + CAP.hex()}),
        ContractLogicError("execution reverted", data={"originalError": {"data": "0x" + CAP.hex()}}),
        ContractLogicError("execution reverted", data="Reverted 0x" + CAP.hex()),
        Web3RPCError("reverted", rpc_response={"error": {"code": 3, "data": "0x" + CAP.hex()}}),  # type: ignore[typeddict-item]
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_however_it_comes(error: Exception) -> None:
    found = explain(error, "LoanLedger.open")
    assert isinstance(found, ContractError)
    assert found.name == "AprAboveCap"
    assert found.data == CAP


def eth_tester_failed(message: str) -> Exception:
    from eth_tester.exceptions import TransactionFailed  # takes a second to load

    return TransactionFailed(message)


@pytest.mark.parametrize("message", [f"execution reverted: {CAP!r}", repr(CAP)], ids=["prefixed", "bare"])
def test_however_it_comes_from_eth_tester(message: str) -> None:
    test_however_it_comes(eth_tester_failed(message))


def test_what_eth_tester_decoded_by_itself() -> None:
    found = explain(eth_tester_failed("execution reverted: no, thank you"))
    assert isinstance(found, ContractError)
    assert (found.name, found.reason) == ("Error", "no, thank you")


def test_a_panic_and_a_bare_revert_from_a_node() -> None:
    data = "0x" + refusal("Panic(uint256)", 0x12).hex()
    found = explain(ContractPanicError("Panic error 0x12", data=data))
    assert isinstance(found, ContractError)
    assert "division by zero" in found.reason
    found = explain(ContractLogicError("execution reverted", data="no data"))
    assert isinstance(found, ContractError)
    assert found.name == ""


def test_nodes() -> None:
    funds = Web3RPCError(
        "x", rpc_response={"error": {"code": -32003, "message": "Insufficient funds for gas"}}
    )  # type: ignore[typeddict-item]
    assert isinstance(explain(funds), InsufficientFunds)
    nonce = Web3RPCError("x", rpc_response={"error": {"code": -32003, "message": "nonce too low"}})  # type: ignore[typeddict-item]
    found = explain(nonce, "X.y")
    assert isinstance(found, NodeError)
    assert str(found) == "X.y: the node refused: nonce too low"
    assert isinstance(explain(RequestsConnectionError("Connection refused")), ChainUnavailable)


def test_a_providers_key_does_not_show() -> None:
    error = HTTPError("401 for https://mainnet.example/v3/hunter2")
    assert "hunter2" not in str(explain(error))
    refused = RequestsConnectionError("/v3/hunter2: Connection refused")
    assert str(explain(refused)).startswith("the node does not answer (connection refused)")


def test_other_errors_pass_as_they_are() -> None:
    for error in (KeyError("x"), ValueError("x"), NodeError("as it is")):
        with pytest.raises(type(error)) as caught, explained("X.y"):
            raise error
        assert caught.value is error


def test_every_meaning_is_of_an_error_and_every_error_of_ours_has_one() -> None:
    known = known_errors()
    assert set(errors.MEANINGS) <= set(known)
    root = Path(__file__).resolve().parents[2]
    ours = set()
    for path in [
        *(root / "contracts/interfaces").glob("*.sol"),
        *(root / "contracts/libraries").glob("*.sol"),
    ]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith("error "):
                ours.add(line.strip().removeprefix("error ").split("(")[0])
    assert ours
    assert ours <= set(errors.MEANINGS), "an error has no meaning in words"
    assert ours <= set(known), "the artifacts are older than the contracts"


def test_the_tree_in_the_docstring_is_exact() -> None:
    names = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, errors.ChainError)
        and value.__module__ == errors.__name__
    }
    assert all(name in (errors.__doc__ or "") for name in names)
    assert ast.get_docstring(ast.parse(Path(errors.__file__).read_text(encoding="utf-8")))
