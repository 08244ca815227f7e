"""How many requests a person may send in a minute, told in the standard headers; counted in Redis, over all servers."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from flask import Response, g
from redis.exceptions import RedisError

from shared.broker import client_of
from shared.errors import RateLimited

log = logging.getLogger(__name__)

WINDOW = 60  # seconds
PATIENCE = 0.5  # seconds; a Redis that is slow or away limits nobody


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a person's requests, and in how many seconds they begin anew."""

    limit: int
    left: int
    seconds: int


class Limiter:
    """Counts requests in windows of a minute. ``limit`` 0 counts nothing."""

    def __init__(self, redis_url: str, limit: int) -> None:
        self._redis = client_of(redis_url, PATIENCE)
        self._limit = limit

    def take(self, person_id: int, now: float) -> Allowance | None:
        """Count one request at ``now`` (seconds since 1970); None where nothing is limited."""
        if not self._limit:
            return None
        window, gone = divmod(int(now), WINDOW)
        key = f"countersign:requests:{person_id}:{window}"
        try:
            pipeline = self._redis.pipeline()
            pipeline.incr(key)
            pipeline.expire(key, 2 * WINDOW)
            count = int(pipeline.execute()[0])
        except RedisError as error:
            log.debug("requests are not counted: %s", error)
            return None
        return Allowance(self._limit, self._limit - count, WINDOW - gone)


def check(limiter: Limiter, person_id: int) -> None:
    """Count this request.

    Raises:
        RateLimited: code ``rate_limited``.
    """
    g.allowance = allowance = limiter.take(person_id, time.time())
    if allowance is not None and allowance.left < 0:
        raise RateLimited(
            "rate_limited",
            f"More than {allowance.limit:,} requests in a minute. Go on in {allowance.seconds} seconds; "
            "'Prefer: wait=30' and larger pages need fewer.",
        )


def tell(response: Response) -> Response:
    """The headers of the IETF's draft (RateLimit-Policy, RateLimit), and ``Retry-After`` where it was refused."""
    allowance: Allowance | None = g.get("allowance")
    if allowance is not None:
        left = max(allowance.left, 0)
        response.headers["RateLimit-Policy"] = f'"minute";q={allowance.limit};w={WINDOW}'
        response.headers["RateLimit"] = f'"minute";r={left};t={allowance.seconds}'
        if response.status_code == RateLimited.status:
            response.headers["Retry-After"] = str(allowance.seconds)
    return response
