"""Names of what the io worker makes for the pages: pictures of regions, and looks at labelled data."""

from __future__ import annotations

import re

from shared.networks import NETWORKS
from shared.specs import Preprocessing, canvas_of

SENT = "sent"  # the region as it was sent; other views are canvases, as networks see them


_SCALED = re.compile(r"(?P<view>.+)-scaled-(?P<enlarge>[1-4])-(?P<reduce>[1-9]|1[0-6])")


DRAWN = ("views", "answers")  # folders of pictures that are drawn anew when somebody looks again


def canvas_view(network: str, preprocessing: Preprocessing) -> str:
    """The view that shows what a model version sees: the network's name, what differs from grey ink, and the factors
    that its scans are scaled by, where they are.
    """
    if preprocessing.preset != "signature":
        return f"{network}-photo" if preprocessing.channels == 1 else f"{network}-colours"
    view = network if preprocessing.ink == "grey" else f"{network}-binary"
    factors = (preprocessing.enlarge, preprocessing.reduce)
    return view if factors == (1, 1) else f"{view}-scaled-{factors[0]}-{factors[1]}"


def canvas_named(view: str) -> Preprocessing | None:
    """The canvas of a view; None where it is the view of none."""
    found = _SCALED.fullmatch(view)
    canvas = _CANVASES.get(found["view"] if found else view)
    if found is None or canvas is None:
        return canvas
    if canvas.scale != "keep" or canvas.preset != "signature":
        return None
    return canvas.model_copy(update={name: int(found[name]) for name in ("enlarge", "reduce")})


def _canvases(network: str) -> tuple[Preprocessing, ...]:
    photos = canvas_of(network, "photo"), canvas_of(network, "photo", 3)
    return (canvas_of(network), canvas_of(network, ink="binary"), *photos)


_CANVASES = {canvas_view(network, canvas): canvas for network in NETWORKS for canvas in _canvases(network)}


def view_key(region_id: int, view: str) -> str:
    """The blob that holds a view."""
    return f"views/{region_id}-{view}.png"


TEST, NEAREST = "test", "nearest"  # pictures of an identification's answer: the test image, one of its nearest category


def answer_key(job_id: str, ordinal: int, which: str) -> str:
    """The blob that holds a picture of an answer."""
    return f"answers/{job_id}-{ordinal}-{which}.png"


MOST_SAMPLES = 24  # pictures on a contact sheet


def look_key(digest: str) -> str:
    """The blob that says what was found in the archive with this digest."""
    return f"datasets/{digest.removeprefix('sha256:')}.json"


def begun_key(digest: str) -> str:
    """The blob that says when somebody began to look."""
    return f"datasets/{digest.removeprefix('sha256:')}.begun"


def sample_key(digest: str, number: int) -> str:
    """The blob that holds a picture of the contact sheet; they count from 0."""
    return f"datasets/{digest.removeprefix('sha256:')}-{number}.png"


def look_keys(digest: str) -> list[str]:
    """All of them."""
    return [look_key(digest), begun_key(digest), *(sample_key(digest, number) for number in range(MOST_SAMPLES))]
