from support.reverts import reverts_with

NOBODY = "0x" + 40 * "0"


def roles(book, account):
    return book.hasRole(book.DEFAULT_ADMIN_ROLE(), account), book.hasRole(book.PUBLISHER_ROLE(), account)


def test_only_the_administrator_offers_the_book(policy_book, stranger):
    with reverts_with("AccessControlUnauthorizedAccount", stranger, bytes(policy_book.DEFAULT_ADMIN_ROLE())):
        policy_book.beginDefaultAdminTransfer(stranger, {"from": stranger})


def test_the_roles_go_by_no_other_way(policy_book, publisher, stranger):
    administrator = policy_book.DEFAULT_ADMIN_ROLE()
    for way in (policy_book.grantRole, policy_book.revokeRole):
        with reverts_with("AccessControlEnforcedDefaultAdminRules"):
            way(administrator, stranger, {"from": publisher})


def test_an_offer_changes_nothing_by_itself(policy_book, publisher, stranger, lender):
    policy_book.beginDefaultAdminTransfer(stranger, {"from": publisher})
    assert roles(policy_book, publisher) == (True, True)
    assert roles(policy_book, stranger) == (False, False)
    for somebody in (lender, publisher):
        with reverts_with("AccessControlInvalidDefaultAdmin", somebody):
            policy_book.acceptDefaultAdminTransfer({"from": somebody})


def test_who_accepts_has_every_role_and_the_one_before_none(policy_book, publisher, stranger, lender, clock):
    policy_book.beginDefaultAdminTransfer(stranger, {"from": publisher})
    clock.forward(1)  # what was offered in a second can be accepted in the next
    policy_book.acceptDefaultAdminTransfer({"from": stranger})
    assert roles(policy_book, stranger) == (True, True)
    assert roles(policy_book, publisher) == (False, False)
    assert policy_book.owner() == stranger
    role = policy_book.PUBLISHER_ROLE()
    with reverts_with("AccessControlUnauthorizedAccount", publisher, bytes(policy_book.DEFAULT_ADMIN_ROLE())):
        policy_book.grantRole(role, publisher, {"from": publisher})
    policy_book.grantRole(role, lender, {"from": stranger})
    assert roles(policy_book, lender) == (False, True)


def test_an_offer_is_taken_back(policy_book, publisher, stranger):
    policy_book.beginDefaultAdminTransfer(stranger, {"from": publisher})
    policy_book.cancelDefaultAdminTransfer({"from": publisher})
    assert policy_book.pendingDefaultAdmin() == (NOBODY, 0)
    with reverts_with("AccessControlInvalidDefaultAdmin", stranger):
        policy_book.acceptDefaultAdminTransfer({"from": stranger})
