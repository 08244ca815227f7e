"""Files of a request into the store, and its fields into a specification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import PurePath
from typing import TypeVar, cast, get_args

import sqlalchemy as sa
from flask import request
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import FileStorage

from shared.db import utcnow
from shared.errors import Fault, InvalidInput
from shared.jobs.submit import Marks, Sent, SoloSpec
from shared.jobs.uploads import add_upload, find_upload, keep_for, store_uploads
from shared.queue import SOLO_TASKS
from shared.specs import SPECS, JobMarks, VerifySpec
from shared.storage import Stored, pieces_of
from shared.tables import Job, Upload
from web.errors import invalid_fields, is_api
from web.locales import read
from web.services import services

S = TypeVar("S", bound=BaseModel)
CONTENTS = {
    "train": "a ZIP of writers' signatures",
    "evaluate": "a ZIP of writers' genuine signatures and forgeries",
    "tune": "a ZIP of writers' signatures",
    "identify": "a ZIP with the folders 'categories' and 'test'",
}


DIGESTS = {f"{field}_digest": field for field in ("archive", "questioned", "reference")}
FORM_FIELDS = {"kind", *DIGESTS, *JobMarks.model_fields}  # of every form; all others are of the specification
OFTEN = {"reference_digest"}  # fields that may be sent more than once
Given = FileStorage | str  # a file of the request, or the digest of one that was sent before


def store_files(files: Sequence[FileStorage]) -> list[Sent]:
    """Store files of the request; loose until their rows are committed.

    Raises:
        StorageFull: nothing is left behind.
    """
    contents = [pieces_of(file.stream) for file in files]  # type: ignore[arg-type]  # typed IO[bytes]
    names = [PurePath((file.filename or "").replace("\\", "/")).name or "unnamed" for file in files]
    return list(map(Sent, store_uploads(services().store, contents), names))


def keep_file(file: FileStorage) -> str:
    """Store one file of the request as long as files are kept that no job names; its digest.

    Raises:
        StorageFull: nothing is left behind.
    """
    (sent,), hours = store_files([file]), services().settings.file_hours
    try:
        with services().database.write() as session:
            known = keep_for(session, sent.stored.digest, hours)
            if known is None:
                until = utcnow() + timedelta(hours=hours)
                add_upload(session, sent.stored.key, sent.stored.digest, sent.stored.size, sent.filename, until)
    finally:
        _drop_unless_accepted(sent)
    return sent.stored.digest


def known_file(digest: str) -> Sent:
    """A file that was sent before.

    Raises:
        InvalidInput: code ``digest_invalid``. NotFound: code ``file_unknown``.
    """
    with services().database.read() as session:
        upload = find_upload(session, digest)
    return Sent(Stored(upload.blob, upload.digest, upload.size), upload.filename, known=True)


def given_in(field: str) -> list[Given]:
    """The files that the request carries in ``field``, or names by digest in ``FIELD_digest``."""
    return [*files_of(field), *(text.strip() for text in request.form.getlist(f"{field}_digest") if text.strip())]


def files_of(field: str) -> list[FileStorage]:
    """The files that were chosen in ``field``; browsers send an empty one where none was."""
    return [file for file in request.files.getlist(field) if file.filename]


def spec_from_form(kind: type[S]) -> S:
    """The specification that the request's fields give; fields left empty take their defaults.

    Raises:
        InvalidInput: code ``field_invalid``, with one fault for each field.
    """
    _refuse_repeated()
    fields = {
        name: value.strip() if is_api() else _typed(kind, name, value.strip())
        for name, value in request.form.items()
        # A page's form has fields of its own; a program's misspelt one must not be ignored.
        if name not in FORM_FIELDS and (is_api() or name in kind.model_fields) and value.strip()
    }
    return _validated(kind, fields)


def _refuse_repeated() -> None:
    """Of two values one would be ignored, and nobody would know which. (A page's checkbox may come twice.)"""
    names = [name for name, values in request.form.lists() if len(values) > 1 and name not in OFTEN]
    if names and is_api():
        faults = tuple(Fault("field_invalid", "This field was sent more than once", name) for name in names)
        raise InvalidInput("field_invalid", f"Send each field once; repeated: {', '.join(names)}.", faults)


def _typed(kind: type[BaseModel], name: str, text: str) -> str:
    """What a person typed into a field: a decimal with the mark of their language is one too."""
    types = get_args(annotation := kind.model_fields[name].annotation) or (annotation,)
    return read(text) if float in types else text


def marks_from_form() -> JobMarks:
    """What the request calls its job by.

    Raises:
        InvalidInput: code ``field_invalid``.
    """
    texts = {name: request.form.get(name, "").strip() for name in JobMarks.model_fields}
    return _validated(JobMarks, {name: text for name, text in texts.items() if text})


def _validated(kind: type[S], fields: dict[str, str]) -> S:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise invalid_fields(error) from error


def submit_from_request(kind: str, person_id: int, token: str | None = None) -> Job:
    """Queue what the request asks for: the one path of the API and the pages.

    The caller has asked ``doorbell.check()``, so that a request which the queue cannot take leaves nothing behind.
    ``token`` is that of a request which must not be done twice, see ``web.api.idempotency``.

    Raises:
        CountersignError: what is wrong with the request.
    """
    stored: list[Sent] = []

    def keep(files: Sequence[Given]) -> list[Sent]:
        known = [known_file(file) if isinstance(file, str) else None for file in files]
        new = store_files([file for file in files if not isinstance(file, str)])
        stored.extend(new)
        following = iter(new)
        return [sent or next(following) for sent in known]

    try:
        job = _submit(kind, person_id, keep, token)
    except Exception:  # whatever it was, it is raised again below
        for sent in stored:
            _drop_unless_accepted(sent)
        raise
    for sent in stored:
        services().store.fasten(sent.stored.key)
    return job


def _drop_unless_accepted(sent: Sent) -> None:
    """A refused request leaves nothing behind; while the database cannot say which it was, the file stays loose."""
    with suppress(SQLAlchemyError), services().database.read() as session:
        if session.scalars(sa.select(Upload.id).where(Upload.blob == sent.stored.key)).first() is None:
            services().store.delete(sent.stored.key)
        else:
            services().store.fasten(sent.stored.key)


def _submit(kind: str, person_id: int, keep: Callable[[Sequence[Given]], list[Sent]], token: str | None) -> Job:
    told = marks_from_form()
    label, marks = told.label, Marks(told.tag, told.external_id, token)
    archives = given_in("archive")
    if len(archives) > 1:
        raise InvalidInput("file_missing", "Send one archive in the field 'archive'.")
    submissions = services().submissions
    if kind not in SPECS:
        raise InvalidInput("kind_unknown", f"The kind {kind[:40]!r} is not known; the kinds are {', '.join(SPECS)}.")
    if kind in SOLO_TASKS:
        spec = spec_from_form(SPECS[kind])
        if not archives:
            raise InvalidInput("file_missing", f"Send {CONTENTS[kind]} in the field 'archive'.")
        return submissions.on_archive(keep(archives[:1])[0], cast("SoloSpec", spec), person_id, label, marks)
    verify = spec_from_form(VerifySpec)
    if archives:
        return submissions.verify_batch(keep(archives[:1])[0], verify, person_id, label, marks)
    questioned, references = given_in("questioned"), given_in("reference")
    if len(questioned) != 1 or not references:
        raise InvalidInput(
            "file_missing",
            "Send a ZIP with manifest.csv in 'archive', or one image in 'questioned' and some in 'reference'.",
        )
    first, *rest = keep([*questioned, *references])
    return submissions.verify_pair(first, rest, verify, person_id, label, marks)
