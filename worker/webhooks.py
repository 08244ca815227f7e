"""Sending what has been told of ended jobs, by HTTP POST."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version

from shared.errors import CountersignError
from shared.webhooks.sending import Attempt, Outgoing, claim_due, forget_old, put_back, settle
from shared.webhooks.signing import signed
from shared.webhooks.targets import Network, Target, find_target
from worker.context import Context

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds for one whole try, from connecting to the answer's status
THREADS = 8


def deliver_due(context: Context) -> int:
    """Send what is due, several at a time. Returns how many were tried.

    A worker that is being stopped begins no other try: it waits for one round of silent receivers, not for all.
    """
    forget_old(context.database)
    outgoing = claim_due(context.database)
    if not outgoing:
        return 0
    sender = Sender(context.settings.webhook_networks_allowed, TIMEOUT)

    def attempted(sent: Outgoing) -> Attempt | None:
        return None if context.draining() else sender.post(sent)

    tried = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for sent, attempt in zip(outgoing, pool.map(attempted, outgoing), strict=True):
            if attempt is None:
                put_back(context.database, sent)
                continue
            tried += 1
            settle(context.database, sent, attempt)
            log.info("webhook event %s, try %d: %s", sent.event_id, sent.tries, attempt.status or attempt.error)
    return tried


@dataclass(frozen=True, slots=True)
class Sender:
    """Posts events. Redirects are not followed, no proxy of the environment is used: each would lead elsewhere."""

    allowed: tuple[Network, ...]
    timeout: float

    def post(self, sent: Outgoing) -> Attempt:
        """One try. What goes wrong is told, never raised."""
        begun = time.monotonic()
        status, error = None, ""
        try:
            status = self._status(sent, find_target(sent.url, self.allowed))
        except CountersignError as refused:
            error = refused.message
        except (OSError, http.client.HTTPException) as failed:
            late = time.monotonic() - begun >= self.timeout
            error = "no answer in time" if late else str(failed) or type(failed).__name__
        return Attempt(status, error[:300], round(time.monotonic() - begun, 3))

    def _status(self, sent: Outgoing, target: Target) -> int:
        body = sent.body.encode()
        headers = {"Host": target.host_header, "Content-Type": "application/json; charset=utf-8"}
        headers |= {"User-Agent": f"countersign/{version('countersign')}", "Connection": "close"}
        headers |= signed(sent.secret, sent.event_id, int(time.time()), body)
        with socket.create_connection((target.ip, target.port), self.timeout) as plain:
            handle = socket.socket(fileno=plain.detach()) if not target.secure else _wrapped(plain, target.host)
            # The socket's own limit counts from the last byte: a receiver that drips would be waited for for ever.
            ending = threading.Timer(self.timeout, socket.socket.shutdown, (handle, socket.SHUT_RDWR))
            ending.daemon = True
            with handle:
                handle.settimeout(self.timeout)
                ending.start()
                try:
                    return _answer(handle, target, body, headers)
                finally:
                    ending.cancel()


def _wrapped(plain: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    return context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)


def _answer(handle: socket.socket, target: Target, body: bytes, headers: dict[str, str]) -> int:
    if isinstance(handle, ssl.SSLSocket):
        handle.do_handshake()
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = handle  # connected to the address that was checked; it must not look the name up again
    connection.request("POST", target.path, body, headers)
    response = connection.getresponse()
    response.close()
    return response.status
