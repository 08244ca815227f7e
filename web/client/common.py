"""What both clients share: documents, errors, headers and addresses."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import httpx

from shared.errors import CountersignError, NotAuthorised, Unavailable

TIMEOUT = httpx.Timeout(60.0, connect=5.0, write=None)
KEEP_SECONDS = 1.0  # an idle connection is used again; gunicorn closes them after two
LONG_POLL = 30  # seconds that the server is asked to hold an answer back
RESEND_PAUSES = (1.0, 3.0, 10.0)
POLL_SECONDS = (0.2, 2.0)  # first and longest pause between two looks at a job
POLL_GROWTH = 1.3
AWAY_SECONDS = 120.0  # how long a job that is watched waits for its server
PAGE, ROWS = 100, 1000  # jobs and events, and rows, that are fetched at a time
RESTS, LONGEST_REST = 3, 60.0  # how often, and for how many seconds, a client rests that has asked too often
CUT_OFF = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)

Document = dict[str, Any]
Sent = Callable[[int, int], None]  # told how many bytes of a file were sent, of how many
Files = list[tuple[str, tuple[str, IO[bytes], str]]]


class ApiError(CountersignError):
    """The server's own answer: its code, message and status, and how many seconds it asks to rest."""

    def __init__(self, status: int, code: str, message: str, rest: float = 0.0) -> None:
        super().__init__(code, message)
        self.status, self.rest = status, rest


def settings_of(url: str, key: str) -> dict[str, Any]:
    """How an httpx client talks to the server."""
    return {
        "base_url": f"{url.rstrip('/')}/api/v1",
        "headers": {"Authorization": f"Bearer {key}"},
        "timeout": TIMEOUT,
        "limits": httpx.Limits(keepalive_expiry=KEEP_SECONDS),
    }


def path_of(resource: str, name: str, *rest: str) -> str:
    """The path of one thing, whatever stands in its name."""
    return "/".join((f"/{resource}/{quote(name, safe='')}", *(quote(part, safe="") for part in rest)))


def chosen(**wanted: str | None) -> dict[str, str]:
    """The part of a query that chooses: what is wanted, and nothing of what is not."""
    return {name: value for name, value in wanted.items() if value}


def once(key: str | None = None) -> dict[str, str]:
    """The header that has a request done once, however often it is sent."""
    return {"Idempotency-Key": key or str(uuid.uuid4())}


def waiting(seconds: int) -> dict[str, str]:
    """The header that has an answer held back."""
    return {"Prefer": f"wait={seconds}"} if seconds else {}


def content_digest(sha256: bytes) -> dict[str, str]:
    """The header that says what a body must be (RFC 9530)."""
    return {"Content-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:"}


def ended(job: Document) -> bool:
    """Whether nothing more will happen to the job by itself."""
    return job["state"] in ("succeeded", "failed", "cancelled")


def unreachable(url: httpx.URL, error: httpx.TransportError) -> Unavailable:
    """No answer came, in words."""
    return Unavailable("server_unreachable", f"No answer from {url}: {error}. Is 'countersign up' running?")


def answered(response: httpx.Response) -> Document:
    """The document of an answer.

    Raises:
        ApiError: the server refused.
    """
    if response.is_error:
        raise problem_of(response)
    document: Document = response.json() if response.content else {}
    return document


def rest(response: httpx.Response, tried: int) -> float | None:
    """Seconds after which a request that came one too many is sent again; None where it is not."""
    if response.status_code != HTTPStatus.TOO_MANY_REQUESTS or tried >= RESTS:
        return None
    told = response.headers.get("Retry-After", "")
    return min(float(told), LONGEST_REST) if told.isdigit() else 1.0


def problem_of(response: httpx.Response) -> ApiError:
    """What the server refused with."""
    try:
        problem = response.json()
        return ApiError(response.status_code, problem["code"], problem["detail"], rest(response, 0) or 0.0)
    except (json.JSONDecodeError, KeyError, TypeError):
        return ApiError(response.status_code, "http_error", f"The server answered {response.status_code}.")


def unknown(error: CountersignError) -> bool:
    """Whether there is no such thing."""
    return error.status == HTTPStatus.NOT_FOUND


def find_server(url: str | None, key: str | None, home: Path) -> tuple[str, str]:
    """Address and key: those given, or those that the embedded stack in ``home`` left there.

    Raises:
        NotAuthorised: code ``key_missing``: neither is to be found.
    """
    path = home / "credentials.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if url is None or url == kept.get("url"):  # the key of the local stack is for the local stack only
        url, key = kept.get("url"), key or kept.get("api_key")
    if not url or not key:
        raise NotAuthorised(
            "key_missing",
            f"No server is known. Start one with 'countersign up' (its home would be {home}), "
            "or set COUNTERSIGN_URL and COUNTERSIGN_API_KEY.",
        )
    return url, key
