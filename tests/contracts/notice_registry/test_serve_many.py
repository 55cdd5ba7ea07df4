def test_nothing_is_served_of_nothing(notices, lender):
    served = notices.serveMany([], {"from": lender})
    assert served.return_value == ()
    assert len(served.events) == 0


def test_a_batch_serves_what_it_may_and_tells_the_rest(
    notices, loan, level, at, notice, lender, borrower, kinds, refusals
):
    now = at(1, -3)
    opened, upcoming = notice(loan, kinds.OPENED, 0, 1_200_000_000), notice(loan, kinds.UPCOMING, 1, level)
    batch = [
        upcoming._replace(loan=b"\3" * 32),
        opened,
        upcoming,
        opened._replace(channel=2),
        upcoming,  # the gap forbids it now that the first was served
        notice(loan, kinds.DUE_TODAY, 1, level),
    ]
    served = notices.serveMany(batch, {"from": lender})
    ids = [bytes(value) for value in served.return_value]
    assert [any(value) for value in ids] == [False, True, True, False, False, False]
    assert [bytes(event["id"]) for event in served.events["NoticeServed"]] == [ids[1], ids[2]]
    today = now // 86_400
    wanted = [
        (b"\3" * 32, kinds.UPCOMING, 1, 0, refusals.UNKNOWN_LOAN, 0, 0),
        (loan, kinds.OPENED, 0, 2, refusals.ALREADY_SAID, 1, 1),
        (loan, kinds.UPCOMING, 1, 0, refusals.TOO_SOON, now, now + 4 * 3600),
        (loan, kinds.DUE_TODAY, 1, 0, refusals.TOO_EARLY, today, today + 3),
    ]
    names = ("kind", "instalment", "channel", "reason", "actual", "required")
    for event, (about, *values) in zip(served.events["NoticeRefused"], wanted, strict=True):
        assert bytes(event["loan"]) == bytes(about)
        assert event["server"] == lender
        assert [event[name] for name in names] == values
    assert notices.remindersOf(borrower)[:2] == (now, 0)


def test_server_1_a_strangers_batch_serves_nothing(notices, loan, notice, stranger, lender, kinds, refusals):
    served = notices.serveMany([notice(loan, kinds.OPENED, 0, 1_200_000_000)], {"from": stranger})
    assert "NoticeServed" not in served.events
    event = served.events["NoticeRefused"]
    assert (event["reason"], event["actual"]) == (refusals.NOT_SERVER, int(str(stranger), 16))
