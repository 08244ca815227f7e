"""Redis as kombu speaks to it, without what strands a worker when Redis is away for a while."""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.transport.virtual import base
from redis import Redis


class Receipts(kombu_redis.QoS):
    """Messages that were delivered and not acknowledged yet.

    kombu keeps one whose acknowledgement did not reach Redis, and counts it: a worker that takes one message at a time
    would never take another. Here it is forgotten; Redis delivers it again, and a doorbell may ring twice.
    """

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge one message. Raises what Redis raises; either way the worker is free for the next."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu is untyped
        except BaseException:
            base.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # as above
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Give one message back or up. Raises what Redis raises; either way the worker is free for the next."""
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]  # as above
        except BaseException:
            base.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # as above
            raise


class Channel(kombu_redis.Channel):
    """A channel with our receipts."""

    QoS = Receipts


class Transport(kombu_redis.Transport):
    """The transport of ``redis://``, ``rediss://`` and ``redis+socket://``."""

    Channel = Channel


def client_of(url: str, patience: float) -> Redis:
    """A client, with connections that it keeps, of the Redis that ``url`` names as kombu writes it.

    Each answer is waited for ``patience`` seconds at most. Safe to use from several threads.
    """
    address = url.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    return Redis.from_url(address, socket_timeout=patience, socket_connect_timeout=patience)


def register() -> None:
    """Have kombu use this transport for Redis."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:{Transport.__name__}"))
