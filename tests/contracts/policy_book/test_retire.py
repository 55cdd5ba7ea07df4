from support.offers import Contact, Lending
from support.reverts import reverts_with


def test_only_a_publisher_retires(policy_book, policy, stranger):
    with reverts_with("AccessControlUnauthorizedAccount", stranger, bytes(policy_book.PUBLISHER_ROLE())):
        policy_book.retire(policy, {"from": stranger})


def test_an_unknown_policy_is_not_retired(policy_book, publisher):
    with reverts_with("UnknownPolicy", 7):
        policy_book.retire(7, {"from": publisher})


def test_a_policy_is_retired_once(policy_book, policy, publisher):
    retired = policy_book.retire(policy, {"from": publisher})
    assert retired.events["PolicyRetired"] == {"policy": policy, "publisher": publisher}
    with reverts_with("PolicyIsRetired", policy):
        policy_book.retire(policy, {"from": publisher})


def test_terms_1_loans_keep_a_retired_policy(policy_book, policy, publisher):
    policy_book.retire(policy, {"from": publisher})
    assert policy_book.stateOf(policy) == (True, True)
    assert policy_book.lendingOf(policy) == Lending()
    assert policy_book.contactOf(policy) == Contact()


def test_unknown_policies_are_told(policy_book):
    assert policy_book.stateOf(9) == (False, False)
    for view in (policy_book.lendingOf, policy_book.contactOf, policy_book.hashesOf):
        with reverts_with("UnknownPolicy", 9):
            view(9)
