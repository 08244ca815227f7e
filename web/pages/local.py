"""Addresses within this server, so that no link makes the login send people elsewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request


def local_target(address: str | None) -> str:
    """``address`` if it is a path of this server, else the start page."""
    text = (address or "").removesuffix("?")
    parts = urlsplit(text)
    # Browsers read a backslash as a slash and drop control characters: "/\\host" would leave this server.
    usable = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if usable and not parts.scheme and not parts.netloc else "/"


def sender_target() -> str:
    """The path of the page that sent a fragment's request."""
    parts = urlsplit(request.headers.get("HX-Current-URL", ""))
    return local_target(parts.path + (f"?{parts.query}" if parts.query else ""))
