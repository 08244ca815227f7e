"""The model version that a training begins with, if not with fresh weights."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shared.registry import find_model
from shared.specs import Preprocessing
from worker.context import Context
from worker.digests import load, pack
from worker.ml.checkpoint import Tensors
from worker.models import read_version


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """A model version's weights, and what is to be known of them. ``seen`` lists the images it has seen, if known."""

    label: str
    digest: str
    weights: Tensors
    preprocessing: Preprocessing
    seen: bytes | None

    @classmethod
    def find(cls, context: Context, reference: str) -> Beginning:
        """The model version that ``reference`` means.

        Raises:
            NotFound: code ``model_unknown`` or ``model_deleted``.
            InvalidInput: code ``model_ambiguous`` or ``model_damaged``.
        """
        with context.database.read() as session:
            model = find_model(session, reference)
        network, meta = read_version(context.store, model)
        seen = load(context.store, model)
        return cls(model.label, model.digest, network.state_dict(), meta.preprocessing, seen)

    @property
    def told(self) -> dict[str, str]:
        """What the new model's summary says of it."""
        return {"model": self.label, "digest": self.digest}

    def note(self, kept_out: Collection[str]) -> str:
        """A sentence for people if images of these digests, kept out of training, are known to the weights already."""
        if self.seen is None:
            return f"It is not known which images {self.label} has seen: error rates may be too low."
        own = pack(kept_out)
        known = len(own) + len(self.seen) - len(pack(kept_out, self.seen)) if own else 0
        return f"{self.label} has seen images that were kept out now: error rates may be too low." if known else ""
