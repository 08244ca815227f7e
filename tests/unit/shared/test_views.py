from __future__ import annotations

from shared.specs import NETWORKS, canvas_of
from shared.views import CANVASES, canvas_view


def test_what_a_model_sees_has_a_view_of_its_own() -> None:
    assert canvas_view("compact", canvas_of("compact")) == "compact"
    assert canvas_view("conv4", canvas_of("conv4", "photo")) == "conv4-photo"
    assert canvas_view("conv4", canvas_of("conv4", "photo", 3)) == "conv4-colours"
    assert canvas_view("ink", canvas_of("ink", ink="binary")) == "ink-binary"
    assert len(CANVASES) == 4 * len(NETWORKS)
    assert CANVASES["ink-binary"] == canvas_of("ink", ink="binary")
    assert CANVASES["signet-bn-colours"] == canvas_of("signet-bn", "photo", 3)
