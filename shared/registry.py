"""Model versions: added once, found by name, pointed at by aliases, archived, deleted softly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.db import Database, utcnow
from shared.errors import Conflict, InvalidInput, NotFound
from shared.specs import CANDIDATE, DEFAULT
from shared.tables import Embedding, ModelAlias, ModelVersion

SHORTEST_DIGEST = len("sha256:") + 8
REGISTER_TRIES = 3
FORGOTTEN = 500  # embeddings at a time, so that no other writer waits long

Done = TypeVar("Done")

# Made once: each submission asks for its model.
_LIVING = sa.select(ModelVersion).where(ModelVersion.deleted_at.is_(None))
_NEWEST = (
    _LIVING.where(ModelVersion.name == sa.bindparam("name"))
    .order_by(ModelVersion.archived_at.is_not(None), ModelVersion.version.desc())
    .limit(1)
)
_ALIASED = _LIVING.join(ModelAlias, ModelAlias.model_id == ModelVersion.id).where(
    ModelAlias.alias == sa.bindparam("alias")
)


def find_model(session: Session, name: str) -> ModelVersion:
    """The model version that ``name`` means: ``name`` (its newest), ``name@version``, a digest, or an alias.

    Of a name's versions, archived ones come behind all others. A digest may be cut short, to 8 digits at least, as
    long as it means one model version only.

    Raises:
        NotFound: code ``model_unknown``; the message lists the names there are.
        InvalidInput: code ``model_ambiguous``.
    """
    name = name.replace("\0", "\ufffd")  # PostgreSQL takes no NUL, and no model has either in its name
    living = _LIVING
    base, _, version = name.partition("@")
    if name.startswith("sha256:"):
        model = _by_digest(session, living, name)
    elif version:
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else -1
        model = session.scalars(living.where(ModelVersion.name == base, ModelVersion.version == number)).first()
    else:
        model = session.scalars(_NEWEST, {"name": base}).first() or _by_alias(session, name)
    if model is None:
        names = session.scalars(
            living.with_only_columns(ModelVersion.name).distinct().order_by(ModelVersion.name).limit(20)
        )
        known = ", ".join(names) or "none yet; train one first"
        raise NotFound("model_unknown", f"There is no model called {name!r}. The models are: {known}.")
    return model


def usable_model(session: Session, name: str) -> ModelVersion:
    """The model version that ``name`` means, for a new job.

    Raises:
        NotFound, InvalidInput: as :func:`find_model`.
        Conflict: code ``model_archived``.
    """
    model = find_model(session, name)
    if model.archived_at is not None:
        raise _archived(model)
    return model


def _archived(model: ModelVersion) -> Conflict:
    return Conflict(
        "model_archived", f"{model.label} is archived. Take it out of the archive, or choose another model."
    )


def _by_digest(session: Session, living: sa.Select[ModelVersion], digest: str) -> ModelVersion | None:
    """The model of this digest, or of the only one that begins so; equal files registered twice are one model."""
    query = living.where(ModelVersion.digest.startswith(digest, autoescape=True)).order_by(ModelVersion.id)
    found = session.scalars(query).all()
    if found and (len(digest) < SHORTEST_DIGEST or len({model.digest for model in found}) > 1):
        raise InvalidInput("model_ambiguous", f"{digest!r} may mean several models. Write more digits of the digest.")
    return found[0] if found else None


def default_model(session: Session) -> ModelVersion:
    """The model version of verifications that name none.

    Raises:
        InvalidInput: code ``model_none``: there is none yet.
    """
    model = _by_alias(session, DEFAULT)
    if model is None:
        raise InvalidInput("model_none", "No default model is set. Train one, or name a model in the request.")
    return model


def _by_alias(session: Session, alias: str) -> ModelVersion | None:
    return session.scalars(_ALIASED, {"alias": alias}).first()


def in_turn(register: Callable[[], Done]) -> Done:
    """What ``register``, a transaction with :func:`add_model`, returns; done anew where another took the number first.

    Raises:
        IntegrityError: it was so each of three times.
    """
    for _ in range(REGISTER_TRIES - 1):
        try:
            return register()
        except IntegrityError:
            continue
    return register()


def add_model(session: Session, model: ModelVersion, make_default: bool) -> ModelVersion:
    """Register ``model`` under the next version of its name; the first model ever becomes the default."""
    newest = session.scalar(sa.select(sa.func.max(ModelVersion.version)).where(ModelVersion.name == model.name))
    model.version = (newest or 0) + 1
    model.created_at = utcnow()
    session.add(model)
    session.flush()
    if make_default or _by_alias(session, DEFAULT) is None:
        set_default(session, model)
    return model


def set_default(session: Session, model: ModelVersion) -> None:
    """Make ``model`` the one that serves verifications that name none; it is then no candidate any more.

    Raises:
        Conflict: code ``model_archived``.
    """
    set_alias(session, DEFAULT, model)
    clear_candidate(session, model)


def set_candidate(session: Session, model: ModelVersion) -> None:
    """Make ``model`` the one that jobs name as ``candidate``.

    Raises:
        Conflict: code ``model_archived``.
    """
    set_alias(session, CANDIDATE, model)


def set_alias(session: Session, alias: str, model: ModelVersion) -> None:
    """Have ``alias`` mean ``model``, whatever it meant before.

    Raises:
        Conflict: code ``model_archived``.
    """
    if _locked(session, model) is not None:
        raise _archived(model)
    session.merge(ModelAlias(alias=alias, model_id=model.id))


def _locked(session: Session, model: ModelVersion) -> datetime | None:
    """Since when ``model`` is archived; until this transaction ends nobody else archives or promotes it."""
    return session.scalar(sa.select(ModelVersion.archived_at).where(ModelVersion.id == model.id).with_for_update())


def clear_candidate(session: Session, model: ModelVersion) -> None:
    """Have ``candidate`` mean nothing, if it means ``model``."""
    session.execute(sa.delete(ModelAlias).where(ModelAlias.alias == CANDIDATE, ModelAlias.model_id == model.id))


def aliases_of(session: Session, model: ModelVersion) -> list[str]:
    """The aliases that mean ``model`` at present, in order."""
    query = sa.select(ModelAlias.alias).where(ModelAlias.model_id == model.id)
    return list(session.scalars(query.order_by(ModelAlias.alias)))


def archive_model(session: Session, model: ModelVersion) -> None:
    """Keep ``model`` for reading: no new job may use it. Those that were submitted go on with it.

    Raises:
        Conflict: code ``model_is_default``.
    """
    _locked(session, model)
    if DEFAULT in aliases_of(session, model):
        raise Conflict(
            "model_is_default", f"{model.label} is the default. Make another model the default, then archive it."
        )
    clear_candidate(session, model)
    model.archived_at = model.archived_at or utcnow()


def unarchive_model(_: Session, model: ModelVersion) -> None:
    """Let new jobs use ``model`` again."""
    model.archived_at = None


def delete_model(session: Session, model: ModelVersion) -> None:
    """Retire ``model``: jobs that wait for it will fail with ``model_deleted``; results it gave are kept."""
    model.deleted_at = utcnow()
    session.execute(sa.delete(ModelAlias).where(ModelAlias.model_id == model.id))


def forget_embeddings(database: Database, at_once: int = FORGOTTEN) -> int:
    """Remove the embeddings of models that were deleted: nothing is compared with them again. Returns how many.

    ``at_once`` are removed in one transaction.
    """
    deleted = sa.select(ModelVersion.id).where(ModelVersion.deleted_at.is_not(None))
    some = sa.select(Embedding.model_id, Embedding.digest).where(Embedding.model_id.in_(deleted)).limit(at_once)
    removed = 0
    while True:
        with database.write() as session:
            keys = session.execute(some).all()
            for model_id in {key.model_id for key in keys}:
                digests = sorted(key.digest for key in keys if key.model_id == model_id)
                of_these = Embedding.model_id == model_id, Embedding.digest.in_(digests)
                session.execute(sa.delete(Embedding).where(*of_these))
        removed += len(keys)
        if len(keys) < at_once:
            return removed


def list_models(
    session: Session, archived: bool = False, before: int | None = None, limit: int | None = None
) -> list[tuple[ModelVersion, list[str]]]:
    """The model versions that may be used, with ``archived`` all, newest first, each with its aliases.

    Only those with an id below ``before``, and at most ``limit``, where they are given.
    """
    query = sa.select(ModelVersion).where(ModelVersion.deleted_at.is_(None)).order_by(ModelVersion.id.desc())
    if not archived:
        query = query.where(ModelVersion.archived_at.is_(None))
    if before is not None:
        query = query.where(ModelVersion.id < before)
    return [(model, aliases_of(session, model)) for model in session.scalars(query.limit(limit))]
