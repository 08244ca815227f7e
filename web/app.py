"""The Flask application: ``create_app(settings)``; gunicorn runs ``web.app:create_app()``."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO

from flask import Flask, Request, Response
from flask_wtf import CSRFProtect

from shared.config import Settings, configure_logging, load_settings
from shared.db import Database
from shared.queue import CeleryDoorbell, Doorbell, make_celery
from shared.storage import open_store
from web import api, errors, pages
from web.limits import Limiter
from web.services import EXTENSION, Services, limit_body

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SESSION_HOURS = 12
FIELDS_MEMORY = 1 << 20  # bytes of form fields, not files, in one request


def create_app(settings: Settings | None = None, doorbell: Doorbell | None = None) -> Flask:
    """The application for ``settings`` (by default those of the environment); tests hand in their own doorbell."""
    settings = settings or load_settings()
    configure_logging(settings)
    app = Flask(__name__)
    app.request_class = _request_class(settings)
    app.config.update(
        SECRET_KEY=settings.secret_key or _kept_secret(settings.home),
        MAX_CONTENT_LENGTH=settings.max_upload,
        MAX_FORM_MEMORY_SIZE=FIELDS_MEMORY,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure_cookies,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=SESSION_HOURS),
        WTF_CSRF_TIME_LIMIT=SESSION_HOURS * 3600,
        WTF_CSRF_CHECK_DEFAULT=False,  # pages check it after the login, see web.pages
    )
    app.extensions[EXTENSION] = Services(
        settings=settings,
        database=Database(settings.database_url),
        store=open_store(settings.storage_url),
        doorbell=doorbell or CeleryDoorbell(make_celery(settings)),
        limiter=Limiter(settings.redis_url, settings.rate_limit),
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    CSRFProtect(app)
    errors.register(app)
    app.before_request(limit_body)
    api.register(app)
    app.register_blueprint(pages.blueprint)
    app.after_request(_harden)
    return app


def _request_class(settings: Settings) -> type[Request]:
    """Uploads are spooled to the disk below ``home``: /tmp is memory on many hosts."""
    folder = settings.home / "uploading"
    folder.mkdir(parents=True, exist_ok=True)

    class StreamingRequest(Request):
        def _get_file_stream(
            self,
            total_content_length: int | None,
            content_type: str | None,
            filename: str | None = None,
            content_length: int | None = None,
        ) -> IO[bytes]:
            return tempfile.TemporaryFile("w+b", dir=folder)

    return StreamingRequest


def _kept_secret(home: Path) -> str:
    """The session secret of the embedded stack, made on the first start and kept in ``home``."""
    path = home / "secret_key"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=home)  # readable by its owner only
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(name, path)  # whole or not at all, and the first of several processes wins
        Path(name).unlink()
    return path.read_text()


def _harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Frame-Options", "DENY")
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response
