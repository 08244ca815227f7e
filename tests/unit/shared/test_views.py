from __future__ import annotations

from shared.networks import NETWORKS
from shared.specs import canvas_of
from shared.views import DRAWN, SENT, TEST, answer_key, canvas_named, canvas_view, view_key


def test_what_a_model_sees_has_a_view_of_its_own() -> None:
    assert canvas_view("compact", canvas_of("compact")) == "compact"
    assert canvas_view("conv4", canvas_of("conv4", "photo")) == "conv4-photo"
    assert canvas_view("conv4", canvas_of("conv4", "photo", 3)) == "conv4-colours"
    assert canvas_view("ink", canvas_of("ink", ink="binary")) == "ink-binary"
    assert canvas_named("ink-binary") == canvas_of("ink", ink="binary")
    assert canvas_named("signet-bn-colours") == canvas_of("signet-bn", "photo", 3)
    for network in NETWORKS:
        assert canvas_named(canvas_view(network, canvas_of(network))) == canvas_of(network)


def test_the_factors_of_a_model_belong_to_what_it_sees() -> None:
    canvas = canvas_of("ink").model_copy(update={"enlarge": 2, "reduce": 16})
    assert canvas_named(canvas_view("ink", canvas)) == canvas
    drawing = canvas.model_copy(update={"ink": "binary"})
    assert canvas_named(canvas_view("ink", drawing)) == drawing
    for view in ("sent", "nothing", "ink-scaled-5-1", "ink-scaled-1-17", "ink-photo-scaled-2-1", "compact-scaled-2-1"):
        assert canvas_named(view) is None


def test_what_is_drawn_lies_where_it_is_removed_in_time() -> None:
    keys = view_key(7, SENT), answer_key("job_1", 3, TEST)
    assert {key.split("/")[0] for key in keys} == set(DRAWN)
