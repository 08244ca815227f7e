from __future__ import annotations

import json

import pytest

from shared.errors import NotAuthorised
from shared.webhooks.signing import new_secret, signed, verify_webhook

BODY = json.dumps({"id": "evt_1", "type": "job.succeeded"}).encode()
NOW = 1_700_000_000


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification, of which every library of it is a reader."""
    body = b'{"test": 2432232314}'
    headers = signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_is_read() -> None:
    secret = new_secret()
    headers = {name.title(): value for name, value in signed(secret, "evt_1", NOW, BODY).items()}
    assert verify_webhook(secret, headers, BODY, NOW + 299)["type"] == "job.succeeded"
    several = headers | {"Webhook-Signature": f"v1,AAAA v2,x {headers['Webhook-Signature']}"}
    assert verify_webhook(secret, several, BODY, NOW)["id"] == "evt_1"


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({"webhook-id": "evt_2"}, BODY, NOW),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, NOW),
        ({"webhook-timestamp": "soon"}, BODY, NOW),
        ({"webhook-signature": ""}, BODY, NOW),
        ({"webhook-signature": "v1,ä"}, BODY, NOW),
        ({}, BODY + b" ", NOW),
        ({}, BODY, NOW + 301),
        ({}, BODY, NOW - 301),
    ],
)
def test_what_was_changed_or_kept_back_is_refused(change: dict[str, str], body: bytes, now: float) -> None:
    secret = new_secret()
    headers = signed(secret, "evt_1", NOW, BODY) | change
    with pytest.raises(NotAuthorised) as caught:
        verify_webhook(secret, headers, body, now)
    assert caught.value.code == "signature_invalid"


def test_another_secret_is_refused() -> None:
    with pytest.raises(NotAuthorised):
        verify_webhook(new_secret(), signed(new_secret(), "evt_1", NOW, BODY), BODY, NOW)
