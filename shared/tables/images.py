"""Uploads as they were sent, the regions of images in them, and what the encoder made of each region."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, Key


class Upload(Base):
    """One file as it was sent: an archive or a single image. Kept whole, so that every answer can be shown again."""

    __tablename__ = "uploads"

    id: Mapped[Key]
    public_id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    blob: Mapped[str] = mapped_column(sa.String(160))
    digest: Mapped[str] = mapped_column(sa.String(80), index=True)
    size: Mapped[int]
    filename: Mapped[str] = mapped_column(sa.String(255))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # of a file that was sent on its own and that no job has named yet

    __table_args__ = (
        sa.Index(
            "ix_uploads_expires_at",
            "expires_at",
            sqlite_where=sa.text("expires_at IS NOT NULL"),
            postgresql_where=sa.text("expires_at IS NOT NULL"),
        ),
    )


class PartialUpload(Base):
    """A file that is being sent in parts. How much of it has arrived is the length of its blob, nothing else."""

    __tablename__ = "partial_uploads"

    id: Mapped[Key]
    public_id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))
    digest: Mapped[str] = mapped_column(sa.String(80))  # that the whole must have
    size: Mapped[int]
    filename: Mapped[str] = mapped_column(sa.String(255))
    expires_at: Mapped[datetime] = mapped_column(index=True)  # put off by each part

    __table_args__ = (sa.UniqueConstraint("person_id", "digest"),)


class Region(Base):
    """The pixels that are compared: (upload, entry, page, box).

    ``name`` tells the region within its upload (entry, page and box in one string). The archive's directory is read
    once, by intake; afterwards ``offset``, ``packed_size`` and ``method`` find the entry's bytes without it. An
    upload that is an image itself has no ``offset``. ``digest`` (of the decoded pixels) and the size in pixels are
    unknown until a worker has decoded it; ``code`` says why it could not.
    """

    __tablename__ = "regions"

    id: Mapped[Key]
    upload_id: Mapped[int] = mapped_column(sa.ForeignKey("uploads.id"))
    name: Mapped[str] = mapped_column(sa.String(1200))
    entry: Mapped[str] = mapped_column(sa.String(1000))
    offset: Mapped[int | None]
    packed_size: Mapped[int | None]
    size: Mapped[int | None]
    method: Mapped[int | None]
    crc: Mapped[int | None]
    page: Mapped[int] = mapped_column(default=1)
    box: Mapped[str | None] = mapped_column(sa.String(60))  # "x y w h", pixels
    digest: Mapped[str | None] = mapped_column(sa.String(80))
    height: Mapped[int | None]
    width: Mapped[int | None]
    code: Mapped[str | None] = mapped_column(sa.String(40))
    message: Mapped[str | None] = mapped_column(sa.Text)

    __table_args__ = (sa.UniqueConstraint("upload_id", "name"), sa.Index("ix_regions_digest", "digest"))


class Embedding(Base):
    """What one model version's encoder made of one digest: float32, little-endian, ``embedding`` numbers."""

    __tablename__ = "embeddings"

    model_id: Mapped[int] = mapped_column(sa.ForeignKey("model_versions.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    vector: Mapped[bytes]

    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 (SQLAlchemy's own form)
