"""Model versions and the names that point at them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, Key


class ModelVersion(Base):
    """Weights, architecture, preprocessing and threshold: immutable, named by the digest of its file."""

    __tablename__ = "model_versions"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(sa.String(63))
    version: Mapped[int]  # counts from 1 for each name
    digest: Mapped[str] = mapped_column(sa.String(80), index=True)
    blob: Mapped[str] = mapped_column(sa.String(160))
    network: Mapped[str] = mapped_column(sa.String(40))
    threshold: Mapped[float]  # accept when distance <= threshold
    summary: Mapped[dict[str, Any]]  # recipe, data, figures
    job_id: Mapped[int | None]  # the training job; no foreign key, jobs already point here
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]  # since when it is kept for reading alone
    deleted_at: Mapped[datetime | None]

    __table_args__ = (sa.UniqueConstraint("name", "version"),)

    @property
    def label(self) -> str:
        """``name@version``, as the API and the pages write it."""
        return f"{self.name}@{self.version}"


class ModelAlias(Base):
    """A name for a role, such as ``default``, and the model version that plays it now."""

    __tablename__ = "model_aliases"

    alias: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    model_id: Mapped[int] = mapped_column(sa.ForeignKey("model_versions.id"))
