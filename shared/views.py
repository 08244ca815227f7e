"""Names of the pictures that the io worker makes for the pages."""

from __future__ import annotations

from shared.specs import NETWORKS, Preprocessing, canvas_of

SENT = "sent"  # the region as it was sent; other views are canvases, as networks see them


def canvas_view(network: str, preprocessing: Preprocessing) -> str:
    """The view that shows what a model version sees: the network's name, and the preset unless it is ``signature``."""
    if preprocessing.preset == "signature":
        return network
    return f"{network}-photo" if preprocessing.channels == 1 else f"{network}-colours"


def _canvases(network: str) -> tuple[Preprocessing, ...]:
    return (canvas_of(network), canvas_of(network, "photo"), canvas_of(network, "photo", 3))


CANVASES = {canvas_view(network, canvas): canvas for network in NETWORKS for canvas in _canvases(network)}


def view_key(region_id: int, view: str) -> str:
    """The blob that holds a view."""
    return f"views/{region_id}-{view}.png"
