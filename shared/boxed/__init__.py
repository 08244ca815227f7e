"""The model in the box: a model version that comes with the package, so that a fresh installation can verify.

It was trained on generated signatures only, by ``python -m benchmarks.boxed build``. Nothing here needs torch: what the
registry has to know stands in the header of the file.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from shared import audit
from shared.db import Database
from shared.errors import InvalidInput
from shared.model_files import check_model_file
from shared.registry import add_model, default_model, set_default
from shared.storage import BlobStore
from shared.tables import ModelVersion

NAME = "boxed"
FILE = Path(__file__).with_name("signature.safetensors")


def register_boxed(database: Database, store: BlobStore, path: Path = FILE) -> ModelVersion | None:
    """Register the model of ``path``, unless a model of its digest was ever registered: what was deleted stays so.

    It becomes the default only where there is none, or where an earlier model of the box is it that this version of
    Countersign can load no more. Returns it, or None where there was nothing to do.
    """
    content = path.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    known = sa.select(ModelVersion.id).where(ModelVersion.digest == digest).limit(1)
    with database.read() as session:
        if session.scalar(known) is not None:
            return None
    blob = store.put(f"models/{digest.removeprefix('sha256:')}.safetensors", [content])
    meta = check_model_file(io.BytesIO(content), len(content))
    model = ModelVersion(
        name=NAME,
        digest=digest,
        blob=blob.key,
        network=meta.network,
        threshold=meta.threshold,
        summary=meta.summary,
    )
    try:
        with database.write() as session:
            if session.scalar(known) is not None:
                return None
            added = add_model(session, model, make_default=False)
            session.flush()
            default = default_model(session)
            if default.name == NAME and default.network == model.network and _is_outdated(store, default):
                set_default(session, added)
                audit.note(session, None, "model.default", added.label, digest=digest, instead_of=default.label)
            # Another host may have committed the same between the look and the new version's number.
            if session.scalar(sa.select(sa.func.count()).where(ModelVersion.digest == digest)) == 1:
                return added
            session.rollback()
            return None
    except IntegrityError:
        return None  # another host was quicker


def _is_outdated(store: BlobStore, model: ModelVersion) -> bool:
    """Whether its network has other tensors now."""
    with store.open(model.blob) as file:
        content = file.read()
    try:
        check_model_file(io.BytesIO(content), len(content))
    except InvalidInput as error:
        return error.code == "weights_unfit"
    return False
