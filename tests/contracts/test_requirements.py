"""What no function of any contract can do, read off the ABIs: there is nothing there to do it with."""

import brownie
import pytest

CONTRACTS = ("LoanLedger", "PolicyBook", "ConsentRegistry", "NoticeRegistry", "GrievanceDesk")
SIGNATURES = {"signature", "offer", "acceptance", "byLender", "byBorrower"}
HASHES = {("flagMissedMany", "ids")}
CALLS = ("multicall", "data")
DELEGATECALL, CALLCODE, SELFDESTRUCT = 0xF4, 0xF2, 0xFF


def build_of(name):
    return brownie.project.get_loaded_projects()[0]._build.get(name)


def functions(name):
    """Functions of a contract by name, with all their inputs flattened to (name, type)."""
    found = {}
    for entry in build_of(name)["abi"]:
        if entry["type"] == "function":
            found[entry["name"]] = (entry["stateMutability"], list(_flat(entry["inputs"])))
    return found


def writing(name):
    """Functions that can change something."""
    return {
        function: inputs
        for function, (mutability, inputs) in functions(name).items()
        if mutability not in ("view", "pure")
    }


def _flat(inputs):
    for entry in inputs:
        if "components" in entry:
            yield from _flat(entry["components"])
        else:
            yield entry["name"], entry["type"]


def test_borrower_1_a_notice_has_no_place_for_an_address():
    for function, (_, inputs) in functions("NoticeRegistry").items():
        addresses = {name for name, kind in inputs if kind.startswith("address")}
        # The views ask who serves, and whose reminders are looked at; nothing that writes takes an address.
        assert addresses <= {"server", "borrower"}, function
    for inputs in writing("NoticeRegistry").values():
        assert not [name for name, kind in inputs if kind.startswith("address")]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_borrower_1_no_contract_takes_a_name_or_a_contact(contract):
    for function, inputs in writing(contract).items():
        for name, kind in inputs:
            # Text could hold anything; bytes are hashes, signatures, and calls of these same functions.
            assert kind != "string", function
            allowed = kind == "bytes32" or name in SIGNATURES or (function, name) in HASHES | {CALLS}
            assert not kind.startswith("bytes") or allowed, (function, name)


def test_borrower_1_a_contact_is_registered_by_its_own_borrower_only():
    takers = {
        function: {name for name, kind in inputs if kind == "address"}
        for function, inputs in writing("ConsentRegistry").items()
    }
    with_address = {function: names for function, names in takers.items() if names}
    assert with_address == {
        "registerBySignature": {"borrower"}, "grantBySignature": {"borrower"},
        # The gate and the desk alone, of what they have done.
        "noteReminder": {"borrower"}, "noteGrievance": {"borrower"},
    }  # fmt: skip


def test_terms_1_nothing_else_changes_a_loan():
    assert set(writing("LoanLedger")) == {
        # Both parties, by signature or transaction.
        "open", "openBySignature", "cancelOffer", "amend",
        # Anybody who pays, or looks.
        "repay", "repayWithPermit", "repayBySignature", "settle", "flagMissed", "flagMissedMany", "multicall",
        # The borrower alone.
        "prepay", "rescind",
        # The lender alone.
        "defer", "acknowledgeReceipt", "waive", "forgive", "assign", "markDefault", "claim",
        "appointServicer",
        # The desk alone: charge what was missed, and ask it from now on.
        "noteGrievance",
    }  # fmt: skip


def test_terms_1_only_what_both_sign_takes_terms():
    takers = {function for function, inputs in writing("LoanLedger").items() if _terms_in(inputs)}
    # Rescinding and cancelling take them as a proof of the id only.
    assert takers == {"open", "openBySignature", "cancelOffer", "amend", "rescind"}
    signatures = {
        function: {name for name, _ in writing("LoanLedger")[function]} & SIGNATURES for function in takers
    }
    assert signatures["open"] == {"offer"}
    assert signatures["openBySignature"] == {"offer", "acceptance"}
    assert signatures["amend"] == {"byLender", "byBorrower"}


def _terms_in(inputs):
    return {"principal", "rate", "instalments", "firstDue", "lateFee"} & {name for name, _ in inputs}


def test_terms_1_what_one_party_does_alone_takes_an_amount_at_most():
    takes = {
        "repay": {"id", "amount"},
        "settle": {"id", "maximum"},
        "prepay": {"id", "amount"},
        "flagMissed": {"id"},
        "flagMissedMany": {"ids"},
        "defer": {"id", "intervals"},
        "acknowledgeReceipt": {"id", "amount", "receipt"},
        "waive": {"id", "amount"},
        "forgive": {"id", "amount"},
        "markDefault": {"id"},
        "assign": {"id", "to", "deadline", "signature"},
    }
    assert takes == {function: {name for name, _ in writing("LoanLedger")[function]} for function in takes}


def test_pause_1_a_grievance_has_no_place_for_whoever_speaks_for_the_borrower():
    takes = {
        "lodge": {"loan", "grievance"},
        "withdraw": {"loan", "grievance"},
        "receiptServed": {"loan", "grievance"},
        "answerServed": {"loan", "grievance"},
        "carryOver": {"loan", "amendment"},
        # Once, by who deployed it: two contracts.
        "bind": {"ledger_", "notices_"},
    }
    assert takes == {
        function: {name for name, _ in inputs} for function, inputs in writing("GrievanceDesk").items()
    }


def test_terms_1_lending_limits_are_given_at_publication_only():
    lending = {"aprCap", "aprConvention", "lateFeeCap", "minGraceDays", "coolingOffDays", "defaultDays"}
    takers = {
        function
        for function, inputs in writing("PolicyBook").items()
        if lending & {name for name, _ in inputs}
    }
    assert takers == {"publish"}


@pytest.mark.parametrize("contract", ["LoanLedger", "ConsentRegistry", "NoticeRegistry", "GrievanceDesk"])
def test_terms_1_there_is_no_owner_and_no_way_to_replace_the_code(contract):
    names = {function.lower() for function in functions(contract)}
    for power in ("owner", "admin", "role", "upgrade", "initialize", "pause", "setimplementation"):
        assert not [name for name in names if power in name]
    # Nor is there code that removes it, or runs other code in its place: the ledger's multicall delegates, to
    # the ledger itself, and nothing else does.
    codes = list(opcodes(bytes.fromhex(build_of(contract)["deployedBytecode"].removeprefix("0x"))))
    assert not {CALLCODE, SELFDESTRUCT} & set(codes)
    assert codes.count(DELEGATECALL) == (1 if contract == "LoanLedger" else 0)


def test_terms_1_a_multicall_calls_the_ledger_only():
    source = build_of("Multicallable")["source"]
    assert source.count("delegatecall(gas()") == source.count("delegatecall(gas(), address(), ") == 1
    # So nothing can be called that is not among the ledger's own functions.
    assert functions("LoanLedger")["multicall"][1] == [("data", "bytes[]")]


def opcodes(code):
    """The instructions of a contract, without what they push and without the data behind them."""
    code = code[: -2 - int.from_bytes(code[-2:], "big")]
    position = 0
    while position < len(code):
        yield code[position]
        position += 1 + (code[position] - 0x5F if 0x5F <= code[position] <= 0x7F else 0)


def test_ledger_3_paying_is_open_to_everyone_and_nothing_stops_it():
    names = {function.lower() for function in functions("LoanLedger")}
    assert not [name for name in names if "block" in name or "freeze" in name or "stop" in name]
