"""The images that a model version has seen, by the digests of their pixels: what an evaluation must not contain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from shared.errors import Fault, InvalidInput, NotFound
from shared.storage import BlobStore
from shared.tables import ModelVersion

KEPT_BYTES = 16  # of each SHA-256: two images in 2**64 would meet by chance
LEAKS_NAMED = 20


def pack(digests: Iterable[str], earlier: bytes = b"") -> bytes:
    """Digests (``sha256:`` and 64 hexadecimal digits) as a list of 16 bytes each, sorted, each once.

    ``earlier`` is the list of the model whose weights were trained on, where there is one: it has seen those too.
    """
    own = {bytes.fromhex(digest.removeprefix("sha256:"))[:KEPT_BYTES] for digest in digests}
    return b"".join(sorted(own | _unpacked(earlier)))


def summary_of(packed: bytes) -> dict[str, Any]:
    """What a model's summary says of its list: how many images, and the digest of the list."""
    return {"count": len(packed) // KEPT_BYTES, "digest": f"sha256:{hashlib.sha256(packed).hexdigest()}"}


def keep(store: BlobStore, model_digest: str, packed: bytes) -> None:
    """Store the list beside the model of this digest."""
    store.put(_key(model_digest), [packed])


def load(store: BlobStore, model: ModelVersion) -> bytes | None:
    """The list of ``model``; None where it has none, or one that is not what its summary says."""
    said = (model.summary or {}).get("images_seen")
    if not isinstance(said, dict):
        return None
    if said == summary_of(b""):
        return b""  # made with no image of a person's; there is nothing to store
    try:
        with store.open(_key(model.digest)) as file:
            packed = file.read()
    except NotFound:
        return None
    return packed if summary_of(packed) == {name: said.get(name) for name in ("count", "digest")} else None


def refuse_seen(packed: bytes, entries: Sequence[str], digests: Sequence[str], label: str) -> None:
    """Check that no image of ``entries`` is in the list of the model called ``label``.

    Raises:
        InvalidInput: code ``leak``, with a fault for each of the first images.
    """
    seen = _unpacked(packed)
    leaks = [
        entry
        for entry, digest in zip(entries, digests, strict=True)
        if bytes.fromhex(digest.removeprefix("sha256:"))[:KEPT_BYTES] in seen
    ]
    if leaks:
        raise InvalidInput(
            "leak",
            f"{len(leaks):,} of {len(entries):,} images were used to train, select or calibrate {label}, the first is "
            f"{leaks[0]}: its figures would be false. Evaluate on writers that it never saw.",
            tuple(Fault("leak", "was used to make the model", entry) for entry in leaks[:LEAKS_NAMED]),
        )


def _unpacked(packed: bytes) -> set[bytes]:
    return {packed[start : start + KEPT_BYTES] for start in range(0, len(packed), KEPT_BYTES)}


def _key(model_digest: str) -> str:
    return f"digests/{model_digest.removeprefix('sha256:')}"
