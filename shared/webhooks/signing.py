"""Signatures of webhooks, by the Standard Webhooks specification: receivers in any language have a library for it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from shared.errors import NotAuthorised

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"  # headers
PREFIX = "whsec_"
TOLERANCE = 300  # seconds between the sender's clock and the receiver's


def new_secret() -> str:
    """A secret of 256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with ``body``: HMAC-SHA256 of ``ID.TIMESTAMP.BODY``, ``timestamp`` in seconds since 1970."""
    return {ID: event_id, TIMESTAMP: str(timestamp), SIGNATURE: _signature(secret, event_id, str(timestamp), body)}


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes, now: float | None = None) -> dict[str, Any]:
    """The event that a receiver was sent, once it is sure who sent it and when.

    ``headers`` are those of the request in any case of letters, ``body`` its very bytes. The same event may arrive
    twice: remember its ``id``.

    Raises:
        NotAuthorised: code ``signature_invalid``: not signed with ``secret``, or more than five minutes old.
    """
    given = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = given.get(ID, ""), given.get(TIMESTAMP, "")
    right = _signature(secret, event_id, timestamp, body).encode()
    found = [hmac.compare_digest(one.encode(), right) for one in given.get(SIGNATURE, "").split()]
    if not any(found):
        raise NotAuthorised("signature_invalid", "The webhook is not signed with this secret, or was changed.")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        raise NotAuthorised("signature_invalid", "The webhook was signed more than five minutes ago, or ahead.")
    event: dict[str, Any] = json.loads(body)
    return event


def _signature(secret: str, event_id: str, timestamp: str, body: bytes) -> str:
    content = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a webhook's secret is {PREFIX} and base64") from error
