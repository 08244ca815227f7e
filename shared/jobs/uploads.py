"""Files that were sent before, known by their digest, so that nobody need send them again."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import insert_one, utcnow
from shared.errors import InvalidInput, NotFound
from shared.storage import BlobStore, Stored
from shared.tables import Job, Upload

LABELLED = ("train", "tune", "evaluate")  # kinds of job whose archive says who wrote what
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


def data_sets(session: Session, limit: int = 20, before: int | None = None) -> tuple[Sequence[Upload], int | None]:
    """The archives of labelled signatures that jobs worked on, each once, the one used last first; the next cursor."""
    used = sa.select(Upload.digest, sa.func.max(Upload.id).label("id"), sa.func.max(Job.id).label("job"))
    used = used.join(Job, Job.upload_id == Upload.id).where(Job.kind.in_(LABELLED)).group_by(Upload.digest)
    if before is not None:
        used = used.having(sa.func.max(Job.id) < before)
    latest = used.order_by(sa.desc("job")).limit(limit + 1).subquery()
    query = sa.select(Upload, latest.c.job).join(latest, latest.c.id == Upload.id).order_by(latest.c.job.desc())
    rows = session.execute(query).all()
    return [row.Upload for row in rows[:limit]], rows[limit - 1].job if len(rows) > limit else None


def use_upload(session: Session, blob: str) -> Upload | None:
    """The upload of this blob, for a job: from now on it is kept. None where there is none, or not any more."""
    used = sa.update(Upload).where(Upload.blob == blob).values(expires_at=None).returning(Upload.id)
    found = session.connection().execute(used).first()
    return session.get_one(Upload, found.id, populate_existing=True) if found else None


def keep_for(session: Session, digest: str, hours: float) -> Upload | None:
    """The newest upload with this digest, kept for so many hours from now at least; None where there is none."""
    unused = sa.update(Upload).where(Upload.digest == digest, Upload.expires_at.is_not(None))
    session.execute(unused.values(expires_at=utcnow() + timedelta(hours=hours)))
    return session.scalars(with_digest(digest)).first()


def new_blob() -> str:
    """A key for the bytes of a new upload."""
    return f"uploads/{secrets.token_hex(16)}"


def store_uploads(store: BlobStore, files: Sequence[Iterable[bytes]]) -> list[Stored]:
    """Store the bytes of new uploads. They are loose: ``store.fasten`` is to be called when their rows are committed.

    Raises:
        StorageFull: nothing is left behind. Unavailable: code ``storage_unavailable``.
    """
    keys = [new_blob() for _ in files]
    try:
        for key in keys:
            store.loosen(key)
        return store.put_all(list(zip(keys, files, strict=True)))
    except BaseException:  # whatever it was, it is raised again
        for key in keys:
            store.delete(key)
        raise


def add_upload(
    session: Session, blob: str, digest: str, size: int, filename: str, expires_at: datetime | None = None
) -> Upload:
    """A new upload; with ``expires_at``, one that is removed then unless a job names it before.

    It is written already: ``session`` does not hold the object.
    """
    values = {
        "public_id": blob.partition("/")[2],
        "blob": blob,
        "digest": digest,
        "size": size,
        "filename": storable(filename),
        "created_at": utcnow(),
        "expires_at": expires_at,
    }
    return Upload(id=insert_one(session, Upload, values), **values)


def storable(text: str) -> str:
    """What the columns hold of a name that the sender chose; PostgreSQL takes no NUL."""
    return text.replace("\0", "")[:255]
