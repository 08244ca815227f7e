"""Names of what the io worker makes for the pages: pictures of regions, and looks at labelled data."""

from __future__ import annotations

from shared.specs import NETWORKS, Preprocessing, canvas_of

SENT = "sent"  # the region as it was sent; other views are canvases, as networks see them


def canvas_view(network: str, preprocessing: Preprocessing) -> str:
    """The view that shows what a model version sees: the network's name, and what differs from grey ink."""
    if preprocessing.preset == "signature":
        return network if preprocessing.ink == "grey" else f"{network}-binary"
    return f"{network}-photo" if preprocessing.channels == 1 else f"{network}-colours"


def _canvases(network: str) -> tuple[Preprocessing, ...]:
    photos = canvas_of(network, "photo"), canvas_of(network, "photo", 3)
    return (canvas_of(network), canvas_of(network, ink="binary"), *photos)


CANVASES = {canvas_view(network, canvas): canvas for network in NETWORKS for canvas in _canvases(network)}


def view_key(region_id: int, view: str) -> str:
    """The blob that holds a view."""
    return f"views/{region_id}-{view}.png"


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
