"""Files that were sent before, known by their digest, so that nobody need send them again."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import utcnow
from shared.errors import InvalidInput, NotFound
from shared.tables import Upload

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def with_digest(digest: str) -> sa.Select[Upload]:
    """The uploads whose bytes have this digest, newest first."""
    return sa.select(Upload).where(Upload.digest == digest).order_by(Upload.id.desc()).limit(1)


def find_upload(session: Session, digest: str) -> Upload:
    """The newest upload whose bytes have this digest.

    Raises:
        InvalidInput: code ``digest_invalid``.
        NotFound: code ``file_unknown``.
    """
    if not DIGEST.fullmatch(digest):
        message = f"{digest[:80]!r} is no digest; write sha256: and 64 hexadecimal digits in lower case."
        raise InvalidInput("digest_invalid", message)
    upload = session.scalars(with_digest(digest)).first()
    if upload is None:
        raise NotFound("file_unknown", f"No file with the digest {digest} was sent yet. Send it by PUT /files.")
    return upload


def add_upload(session: Session, blob: str, digest: str, size: int, filename: str) -> Upload:
    """The upload of this blob: the one that is known, or a new one."""
    known = session.scalars(sa.select(Upload).where(Upload.blob == blob)).first()
    if known is not None:
        return known
    upload = Upload(
        public_id=blob.partition("/")[2],
        blob=blob,
        digest=digest,
        size=size,
        filename=storable(filename),
        created_at=utcnow(),
    )
    session.add(upload)
    session.flush()
    return upload


def storable(text: str) -> str:
    """What the columns hold of a name that the sender chose; PostgreSQL takes no NUL."""
    return text.replace("\0", "")[:255]
