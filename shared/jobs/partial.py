"""Files that are sent in parts: after a cut the sender asks how much has arrived, and goes on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import Database, insert_ignore, utcnow
from shared.errors import InvalidInput, NotFound, StorageFull
from shared.jobs.uploads import DIGEST, add_upload, new_blob, storable
from shared.storage import BlobStore
from shared.tables import PartialUpload, Upload
from shared.tables.base import public_id
from shared.views import look_keys


def begin_upload(
    session: Session, person_id: int, digest: str, size: int, filename: str, hours: float
) -> PartialUpload:
    """The unfinished upload of this file by this person: the one that was begun before, or a new one.

    Raises:
        InvalidInput: code ``digest_invalid``, or ``upload_length``: begun with another size.
    """
    if not DIGEST.fullmatch(digest):
        raise InvalidInput("digest_invalid", "Write the digest as sha256: and 64 hexadecimal digits in lower case.")
    row = {
        "public_id": public_id("upload"),
        "person_id": person_id,
        "digest": digest,
        "size": size,
        "filename": storable(filename),
        "expires_at": utcnow() + timedelta(hours=hours),
    }
    insert_ignore(session, PartialUpload, [row])
    begun = PartialUpload.person_id == person_id, PartialUpload.digest == digest
    found = session.scalars(sa.select(PartialUpload).where(*begun)).one()
    if found.size != size:
        raise InvalidInput("upload_length", f"This upload was begun with {found.size:,} bytes, not {size:,}.")
    return found


def find_partial(session: Session, upload: str, person_id: int) -> PartialUpload:
    """A person's unfinished upload by its public id.

    Raises:
        NotFound: code ``upload_unknown``; it may have been finished.
    """
    query = sa.select(PartialUpload).where(PartialUpload.public_id == upload, PartialUpload.person_id == person_id)
    found = session.scalars(query).first()
    if found is None:
        raise _unknown()
    return found


def _unknown() -> NotFound:
    message = "You have no such unfinished upload. See by its digest whether the file has arrived, or begin anew."
    return NotFound("upload_unknown", message)


def blob_of(upload: PartialUpload) -> str:
    """Where the store has what has arrived."""
    return f"partial/{upload.public_id}"


def extend_upload(
    database: Database, store: BlobStore, upload: PartialUpload, offset: int, pieces: Iterable[bytes], hours: float
) -> int:
    """Append ``pieces`` to what has arrived, ``offset`` bytes; each is kept as it comes. Returns how much there is now.

    Raises:
        NotFound: code ``upload_unknown``: it was given up, or finished, at this moment.
        Conflict: code ``upload_offset``: another number of bytes has arrived.
        InvalidInput: code ``upload_length``: more comes than was told.
        StorageFull: what arrived before is kept.
    """
    put_off = sa.update(PartialUpload).where(PartialUpload.id == upload.id)
    with database.write() as session:
        kept = session.connection().execute(put_off.values(expires_at=utcnow() + timedelta(hours=hours)))
        if not kept.rowcount:  # a blob made now would belong to nobody
            raise _unknown()
    store.extend(blob_of(upload), offset, b"")
    for piece in pieces:
        if offset + len(piece) > upload.size:
            raise InvalidInput("upload_length", f"More bytes arrive than the {upload.size:,} that were told.")
        store.extend(blob_of(upload), offset, piece)
        offset += len(piece)
    return offset


def finish_upload(database: Database, store: BlobStore, upload: PartialUpload, hours: float) -> Upload:
    """Make a file of an upload that has arrived whole.

    Raises:
        InvalidInput: code ``digest_mismatch``: it is not what was told; nothing of it is kept.
        NotFound: code ``blob_missing``: another request has finished it at this moment.
    """
    with store.open(blob_of(upload)) as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]  # typed IO[bytes]
    if digest != upload.digest:
        drop_partial(database, store, upload)
        message = f"What arrived has the digest {digest}, not {upload.digest}. Send it again from the beginning."
        raise InvalidInput("digest_mismatch", message)
    key = new_blob()
    store.loosen(key)
    store.move(blob_of(upload), key)
    expires_at = utcnow() + timedelta(hours=hours)
    with database.write() as session:
        session.execute(sa.delete(PartialUpload).where(PartialUpload.id == upload.id))
        finished = add_upload(session, key, digest, upload.size, upload.filename, expires_at)
    store.fasten(key)
    return finished


def drop_partial(database: Database, store: BlobStore, upload: PartialUpload) -> None:
    """Forget an upload and what has arrived of it."""
    _let_go(store, blob_of(upload))
    with database.write() as session:
        session.execute(sa.delete(PartialUpload).where(PartialUpload.id == upload.id))
    store.delete(blob_of(upload))


def remove_expired(database: Database, store: BlobStore) -> int:
    """Remove files that no job has named, and unfinished uploads, whose time is over, and what nobody came to own.

    Returns how many.
    """
    with database.read() as session:
        over = sa.select(PartialUpload).where(PartialUpload.expires_at <= utcnow()).limit(100)
        partial = session.scalars(over).all()
        files = session.scalars(sa.select(Upload).where(Upload.expires_at <= utcnow()).limit(100)).all()
    removed = [_remove(database, store, PartialUpload, upload.id, blob_of(upload)) for upload in partial]
    for file in files:
        removed.append(_remove(database, store, Upload, file.id, file.blob))
        for key in look_keys(file.digest):  # made anew if the same bytes are still there in another file
            store.delete(key)
    return sum(removed) + sum(_remove_loose(database, store, key) for key in store.long_loose())


def _remove(
    database: Database, store: BlobStore, table: type[PartialUpload] | type[Upload], row: int, blob: str
) -> bool:
    """The row goes first, and only if it is over still: a job may name the file at this moment, or a part arrive."""
    _let_go(store, blob)
    with database.write() as session:
        gone = sa.delete(table).where(table.id == row, table.expires_at <= utcnow())
        if not session.connection().execute(gone).rowcount:
            store.fasten(blob)
            return False
    store.delete(blob)
    return True


def _let_go(store: BlobStore, blob: str) -> None:
    """Mark a blob whose row goes, unless the disk is full: what is removed makes room."""
    with suppress(StorageFull):
        store.loosen(blob)


def _remove_loose(database: Database, store: BlobStore, key: str) -> bool:
    """Remove a blob whose program was killed beside it, unless its row was committed before."""
    folder, _, name = key.partition("/")
    row = PartialUpload.public_id if folder == "partial" else Upload.public_id
    with database.read() as session:
        if session.scalar(sa.select(row).where(row == name)) is not None:
            store.fasten(key)
            return False
    store.delete(key)
    return True
