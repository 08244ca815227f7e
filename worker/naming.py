"""The images that a manifest names, as regions: entries of its archive, and what is known by its digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.archives import Archive, Entry
from shared.db import insert_ignore
from shared.errors import Fault, UnusableImage
from shared.jobs.uploads import DIGEST
from shared.manifest import MAX_NAME, ImageRef, Row
from shared.tables import Region, Upload

LOOKUP = 500  # values in one IN (...)
PLACE = ("offset", "packed_size", "size", "method", "crc")  # of an entry in its archive
REMEMBERED = 200_000  # names, so that memory stays flat however many the manifest has


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that was sent on its own, or with an earlier job."""

    upload_id: int
    filename: str


@dataclass(frozen=True, slots=True)
class KnownRegion:
    """A region whose pixels have the digest that is named."""

    id: int


Found = Entry | SentFile | KnownRegion | Fault


class Naming:
    """Finds what the names in one manifest stand for, and makes regions of it.

    A name is that of an entry of the archive, or a digest (``sha256:`` and 64 digits): of a file that was sent
    before, or of the pixels of an image, as answers give it.
    """

    def __init__(self, archive: Archive, folder: str, upload_id: int) -> None:
        self._archive = archive
        self._folder = folder
        self._upload_id = upload_id
        self._found: dict[str, Found] = {}  # by the name in the manifest
        self._region_ids: dict[str, int] = {}  # by ImageRef.name

    def look_up(self, session: Session, rows: Iterable[Row]) -> list[Row]:
        """``rows``, with a fault where an image that they name is not there."""
        rows = list(rows)
        if len(self._found) + len(self._region_ids) > REMEMBERED:
            self._found.clear()
            self._region_ids.clear()
        names = {ref.entry for row in rows for ref in images_of(row)} - self._found.keys()
        digests = {name for name in names if DIGEST.fullmatch(name)}
        self._found |= {name: self._in_archive(name) for name in names - digests}
        self._found |= _known(session, digests)
        return [self._checked(row) for row in rows]

    def _in_archive(self, name: str) -> Found:
        inside = f"{self._folder}/{name}" if self._folder else name
        try:
            found = self._archive.find(inside) or self._archive.find(name)
        except UnusableImage as error:
            return Fault(error.code, error.message)
        if found is None:
            return Fault("image_missing", f"the image {name} is not in the archive")
        if len(found.name) > MAX_NAME:
            return Fault("image_name_too_long", f"the name of an image has over {MAX_NAME} characters")
        return found

    def _checked(self, row: Row) -> Row:
        for ref in images_of(row):
            found = self._found[ref.entry]
            if isinstance(found, Fault):
                return faulty(row, found.code, found.message)
            if isinstance(found, KnownRegion) and (ref.page > 1 or ref.box):
                message = f"{ref.entry} are the pixels of an image as it was cut out; they take no page and no box"
                return faulty(row, "row_invalid", message)
        return row

    def hold(self, session: Session, rows: Iterable[Row]) -> list[Row]:
        """``rows``, whose files are kept from now on; with a fault where one expired since it was looked up."""
        rows = list(rows)
        named = {ref.entry: self._found[ref.entry] for row in rows for ref in images_of(row)}
        files = {name: found.upload_id for name, found in named.items() if isinstance(found, SentFile)}
        kept: set[int] = set()
        for some in parts(set(files.values())):
            keep = sa.update(Upload).where(Upload.id.in_(some)).values(expires_at=None).returning(Upload.id)
            kept |= set(session.connection().execute(keep).scalars())
        self._found |= {name: _unknown(name) for name, upload_id in files.items() if upload_id not in kept}
        return [self._checked(row) for row in rows]

    def add_regions(self, session: Session, rows: Iterable[Row]) -> dict[str, int]:
        """Region ids by ``ImageRef.name`` of all that ``rows``, which are held, name; new ones are inserted."""
        wanted = {ref.name: ref for row in rows for ref in images_of(row)}
        fresh: dict[str, dict[str, Any]] = {}
        for name, ref in wanted.items():
            if name in self._region_ids:
                continue
            found = self._found[ref.entry]
            if isinstance(found, KnownRegion):
                self._region_ids[name] = found.id
            elif not isinstance(found, Fault):
                fresh[name] = self._values(ref, found)
        insert_ignore(session, Region, list(fresh.values()))
        stored = _stored(session, fresh.values())
        self._region_ids |= {name: stored[values["upload_id"], values["name"]] for name, values in fresh.items()}
        return self._region_ids

    def _values(self, ref: ImageRef, found: Entry | SentFile) -> dict[str, Any]:
        if isinstance(found, SentFile):
            upload_id, named, place = found.upload_id, ImageRef(found.filename, ref.page, ref.box), None
        else:
            upload_id, named, place = self._upload_id, ref, found
        return {
            "upload_id": upload_id,
            "name": named.name,
            "entry": place.name if place else named.entry,
            **{part: getattr(place, part, None) for part in PLACE},
            "page": ref.page,
            "box": ref.box_text,
        }


def images_of(row: Row) -> tuple[ImageRef, ...]:
    """The images that a row names; none of one with a fault."""
    return () if row.fault or row.questioned is None else (row.questioned, *row.references)


def faulty(row: Row, code: str, message: str) -> Row:
    """``row``, with what is wrong with it in place of its images."""
    fault = Fault(code, f"Line {row.line}: {message}.", f"line {row.line}")
    return replace(row, questioned=None, references=(), fault=fault)


def parts(values: Iterable[Any]) -> Iterator[list[Any]]:
    """``values`` in groups that one IN (...) takes."""
    iterator = iter(values)
    while part := list(islice(iterator, LOOKUP)):
        yield part


def _known(session: Session, digests: set[str]) -> dict[str, Found]:
    """What stands behind digests: the newest file with these bytes, or else the first region with these pixels."""
    found: dict[str, Found] = {digest: _unknown(digest) for digest in digests}
    for part in parts(sorted(digests)):
        regions = sa.select(Region.digest, sa.func.min(Region.id)).where(Region.digest.in_(part))
        found |= {str(row[0]): KnownRegion(row[1]) for row in session.execute(regions.group_by(Region.digest))}
        files = sa.select(Upload.digest, Upload.id, Upload.filename).where(Upload.digest.in_(part)).order_by(Upload.id)
        found |= {row[0]: SentFile(row[1], row[2]) for row in session.execute(files)}
    return found


def _unknown(digest: str) -> Fault:
    return Fault("file_unknown", f"no file was sent and no image is known with the digest {digest}")


def _stored(session: Session, wanted: Iterable[dict[str, Any]]) -> dict[tuple[int, str], int]:
    """The ids of regions by upload and name."""
    ids: dict[tuple[int, str], int] = {}
    for part in parts(wanted):
        uploads, names = {values["upload_id"] for values in part}, [values["name"] for values in part]
        query = sa.select(Region.upload_id, Region.name, Region.id)
        for row in session.execute(query.where(Region.upload_id.in_(uploads), Region.name.in_(names))):
            ids[row[0], row[1]] = row[2]
    return ids
