"""What no function of any contract can do, read off the ABIs: there is nothing there to do it with."""

import brownie
import pytest

CONTRACTS = ("LoanLedger", "PolicyBook", "ConsentRegistry", "NoticeRegistry")


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
            # Text could hold anything; bytes are signatures only.
            assert kind != "string", function
            assert not kind.startswith("bytes") or kind == "bytes32" or name == "signature", function


def test_borrower_1_a_contact_is_registered_by_its_own_borrower_only():
    takers = {
        function: {name for name, kind in inputs if kind == "address"}
        for function, inputs in writing("ConsentRegistry").items()
    }
    with_address = {function: names for function, names in takers.items() if names}
    assert with_address == {"registerBySignature": {"borrower"}, "grantBySignature": {"borrower"}}


def test_terms_1_nothing_changes_a_loan_but_time_and_payments():
    assert set(writing("LoanLedger")) == {
        "open",
        "repay",
        "settle",
        "flagMissed",
        "claim",
        "appointServicer",
    }
    # None of those that touch an open loan takes anything that could be a term.
    for function in ("repay", "settle", "flagMissed"):
        names = {name for name, _ in writing("LoanLedger")[function]}
        assert names <= {"id", "amount", "maximum"}


def test_terms_1_lending_limits_are_given_at_publication_only():
    lending = {"aprCap", "aprConvention", "lateFeeCap", "minGraceDays", "coolingOffDays", "defaultDays"}
    takers = {
        function
        for function, inputs in writing("PolicyBook").items()
        if lending & {name for name, _ in inputs}
    }
    assert takers == {"publish"}


@pytest.mark.parametrize("contract", ["LoanLedger", "ConsentRegistry", "NoticeRegistry"])
def test_terms_1_there_is_no_owner_and_no_way_to_replace_the_code(contract):
    names = {function.lower() for function in functions(contract)}
    for power in ("owner", "admin", "role", "upgrade", "initialize", "pause", "setimplementation"):
        assert not [name for name in names if power in name]
    # Nor does anything in its sources run other code in its place, or remove it.
    build = build_of(contract)
    sources = [build["source"], *(build_of(name)["source"] for name in build["dependencies"])]
    assert not [source for source in sources if ".delegatecall(" in source or "selfdestruct(" in source]


def test_ledger_3_paying_is_open_to_everyone_and_nothing_stops_it():
    names = {function.lower() for function in functions("LoanLedger")}
    assert not [name for name in names if "block" in name or "freeze" in name or "stop" in name]
