"""Names of the pictures that the io worker makes for the pages."""

from __future__ import annotations

SENT = "sent"  # the region as it was sent; other views are named after the network whose canvas they show


def view_key(region_id: int, view: str) -> str:
    """The blob that holds a view."""
    return f"views/{region_id}-{view}.png"
