from support.offers import ZERO_ADDRESS


def test_server_1_a_lender_appoints_and_withdraws(ledger, open_loan, lender, servicer, keeper):
    loan = open_loan()
    assert ledger.partiesOf(loan)["servicer"] == ZERO_ADDRESS
    for appointed in (servicer, keeper, ZERO_ADDRESS):
        appointment = ledger.appointServicer(appointed, {"from": lender})
        assert appointment.events["ServicerAppointed"] == {"lender": lender, "servicer": appointed}
        assert ledger.servicerOf(lender) == appointed
        assert ledger.partiesOf(loan)["servicer"] == ledger.positionOf(loan)["servicer"] == appointed


def test_server_1_nobody_appoints_for_another(ledger, open_loan, lender, stranger, borrower):
    loan = open_loan()
    for actor in (stranger, borrower):
        ledger.appointServicer(actor, {"from": actor})
    assert ledger.partiesOf(loan)["servicer"] == ZERO_ADDRESS
