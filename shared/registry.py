"""Model versions: added once, found by name, pointed at by aliases, deleted softly."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import utcnow
from shared.errors import InvalidInput, NotFound
from shared.tables import ModelAlias, ModelVersion

DEFAULT = "default"
SHORTEST_DIGEST = len("sha256:") + 8


def find_model(session: Session, name: str) -> ModelVersion:
    """The model version that ``name`` means: ``name`` (its newest), ``name@version``, a digest, or an alias.

    A digest may be cut short, to 8 digits at least, as long as it means one model version only.

    Raises:
        NotFound: code ``model_unknown``; the message lists the names there are.
        InvalidInput: code ``model_ambiguous``.
    """
    name = name.replace("\0", "\ufffd")  # PostgreSQL takes no NUL, and no model has either in its name
    living = sa.select(ModelVersion).where(ModelVersion.deleted_at.is_(None))
    base, _, version = name.partition("@")
    if name.startswith("sha256:"):
        model = _by_digest(session, living, name)
    elif version:
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else -1
        model = session.scalars(living.where(ModelVersion.name == base, ModelVersion.version == number)).first()
    else:
        newest = living.where(ModelVersion.name == base).order_by(ModelVersion.version.desc()).limit(1)
        model = session.scalars(newest).first() or _by_alias(session, name)
    if model is None:
        names = session.scalars(
            living.with_only_columns(ModelVersion.name).distinct().order_by(ModelVersion.name).limit(20)
        )
        known = ", ".join(names) or "none yet; train one first"
        raise NotFound("model_unknown", f"There is no model called {name!r}. The models are: {known}.")
    return model


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
    query = sa.select(ModelVersion).join(ModelAlias, ModelAlias.model_id == ModelVersion.id)
    return session.scalars(query.where(ModelAlias.alias == alias, ModelVersion.deleted_at.is_(None))).first()


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
    """Make ``model`` the one that serves verifications that name none."""
    session.merge(ModelAlias(alias=DEFAULT, model_id=model.id))


def is_default(session: Session, model: ModelVersion) -> bool:
    """Whether ``model`` serves verifications that name none."""
    alias = session.get(ModelAlias, DEFAULT)
    return alias is not None and alias.model_id == model.id


def delete_model(session: Session, model: ModelVersion) -> None:
    """Retire ``model``: jobs that wait for it will fail with ``model_deleted``; results it gave are kept."""
    model.deleted_at = utcnow()
    session.execute(sa.delete(ModelAlias).where(ModelAlias.model_id == model.id))


def list_models(session: Session) -> list[tuple[ModelVersion, bool]]:
    """All living model versions, newest first, each with whether it is the default."""
    query = sa.select(ModelVersion).where(ModelVersion.deleted_at.is_(None)).order_by(ModelVersion.id.desc())
    return [(model, is_default(session, model)) for model in session.scalars(query)]
