"""Model files taken in and given out: the one path of the API and the pages."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress

import sqlalchemy as sa
from flask import Response, stream_with_context
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import audit, registry
from shared.errors import Conflict, InvalidInput
from shared.model_files import ModelMeta, check_model_file
from shared.specs import TrainSpec
from shared.storage import Stored, pieces_of
from shared.tables import ModelVersion
from web.services import services

UPLOADED = "model.upload"  # the action in the audit events
NAMELESS = "uploaded"


def receive_model(pieces: Iterable[bytes], name: str, person_id: int, wanted: str | None = None) -> ModelVersion:
    """Store a model file, check it, and register what it holds as the next version of ``name``.

    Where ``name`` is empty the model keeps the name it was trained under. ``wanted`` is the digest that the sender
    announced. What is refused is not kept.

    Raises:
        InvalidInput: code ``digest_mismatch``, or those of :func:`shared.model_files.check_model_file`.
        Conflict: code ``model_known``.
    """
    stored = services().store.put(f"models/{secrets.token_hex(16)}.safetensors", pieces)
    try:
        return _register(stored, name, person_id, wanted)
    except Exception:  # whatever it was, it is raised again
        _drop_unless_registered(stored)
        raise


def _register(stored: Stored, name: str, person_id: int, wanted: str | None) -> ModelVersion:
    if wanted and stored.digest != wanted:
        raise InvalidInput(
            "digest_mismatch",
            f"What arrived has the digest {stored.digest} and {stored.size:,} bytes, not {wanted}. Send it again.",
        )
    with services().store.open(stored.key) as file:
        meta = check_model_file(file, stored.size)

    def register() -> ModelVersion:
        with services().database.write() as session:
            _refuse_known(session, stored.digest)
            model = registry.add_model(session, _version_of(meta, stored, name), make_default=False)
            audit.note(session, person_id, UPLOADED, model.label, digest=model.digest)
            return model

    return registry.in_turn(register)


def _drop_unless_registered(stored: Stored) -> None:
    """What is refused is not kept; while the database cannot say which it was, the file is."""
    with suppress(SQLAlchemyError), services().database.read() as session:
        if session.scalars(sa.select(ModelVersion.id).where(ModelVersion.blob == stored.key)).first() is None:
            services().store.delete(stored.key)


def _refuse_known(session: Session, digest: str) -> None:
    living = sa.select(ModelVersion).where(ModelVersion.digest == digest, ModelVersion.deleted_at.is_(None))
    known = session.scalars(living).first()
    if known is not None:
        raise Conflict("model_known", f"This very file is registered already, as {known.label}.")


def _version_of(meta: ModelMeta, stored: Stored, name: str) -> ModelVersion:
    return ModelVersion(
        name=name or _own_name(meta),
        digest=stored.digest,
        blob=stored.key,
        network=meta.network,
        threshold=meta.threshold,
        summary=meta.summary,
    )


def _own_name(meta: ModelMeta) -> str:
    """The name that the model was trained under, where its file tells of a usable one."""
    recipe = meta.training.get("recipe")
    try:
        return TrainSpec.model_validate({"name": recipe["name"]}).name if isinstance(recipe, dict) else NAMELESS
    except (LookupError, ValidationError):
        return NAMELESS


def model_file_response(name: str) -> Response:
    """The file of a model version, as a download; its digest is the model's.

    Raises:
        NotFound: code ``model_unknown``, or ``blob_missing`` where it is gone from the storage.
    """
    with services().database.read() as session:
        model = registry.find_model(session, name)
    stream = services().store.open(model.blob)
    response = Response(stream_with_context(pieces_of(stream)), mimetype="application/octet-stream")
    response.call_on_close(stream.close)
    response.set_etag(model.digest)
    response.headers.set("Content-Disposition", "attachment", filename=f"{model.label}.safetensors")
    return response
