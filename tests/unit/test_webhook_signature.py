"""What a webhook's receiver checks."""

import re

from duly.services.webhook import new_secret, signature


def test_the_signature_is_the_specifications() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks, in its libraries' tests.
    assert (
        signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_secrets_differ_and_can_be_set() -> None:
    found = {new_secret() for _ in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", each) for each in found)
