"""Pixel statistics that need no model: the floor which any verification result must beat.

Where genuine signatures and forgeries were collected with different pens, paper or scanners, one trivial number can
tell them apart. The table of these numbers' pair-level AUC says how much of a result such a shortcut could explain.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.specs import ProtocolName
from worker.ml.metrics import auc

STATISTICS = (
    "background_median",
    "darkest_pixel",
    "mean_ink",
    "otsu_threshold",
    "stroke_width",
    "ink_fraction",
    "aspect",
)


def left_by(pixels: NDArray[np.uint8], protocol: ProtocolName) -> NDArray[np.uint8]:
    """What a protocol leaves of a grey image (height, width): paper white, and the ink grey or, in binary-ink, black.

    Ink and paper are parted by Otsu's threshold, as :func:`worker.ml.images.prepare` does.
    """
    level, _ = cv2.threshold(pixels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    ink = np.zeros_like(pixels) if protocol == "binary-ink" else pixels
    return np.where(pixels <= level, ink, 255).astype(np.uint8)


def shortcut_statistics(image: NDArray[np.uint8]) -> dict[str, float]:
    """Measure one grey image (height, width) of dark ink on light paper; the keys are those of STATISTICS.

    Grey levels are 0..255: the median of the background, the darkest pixel, the mean of the ink, and Otsu's threshold
    (1979) that parts the two. ``stroke_width`` is in pixels: four times the ink's mean distance from the paper, less 2,
    which is the width of a long even line. ``ink_fraction`` is the ink's share of its own bounding box, ``aspect`` that
    box's width over its height. Raises ValueError where the image is not 8-bit grey or is empty; an image of one
    grey level has no ink: its ink takes that level and the rest is 0.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError("expected an 8-bit grey image of shape (height, width)")
    threshold, mask = cv2.threshold(image, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    ink = mask.astype(bool)
    if not ink.any() or ink.all():
        level = float(np.median(image))
        return dict(zip(STATISTICS, (level, level, level, float(threshold), 0.0, 0.0, 0.0), strict=True))
    left, top, width, height = cv2.boundingRect(mask)
    inside = ink[top : top + height, left : left + width]
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return {
        "background_median": float(np.median(image[~ink])),
        "darkest_pixel": float(image.min()),
        "mean_ink": float(image[ink].mean()),
        "otsu_threshold": float(threshold),
        "stroke_width": 4.0 * float(depth[ink].mean()) - 2.0,
        "ink_fraction": float(inside.mean()),
        "aspect": width / height,
    }


def shortcut_table(samples: Iterable[tuple[Hashable, bool, NDArray[np.uint8]]]) -> dict[str, float]:
    """Pair-level AUC of each of STATISTICS over ``samples`` of (writer, forged, image).

    A pair is two genuine images of a writer, or one genuine and one forged of the same; its number is the absolute
    difference of the two images' statistic, and pairs of all writers are pooled. 0.5 says nothing; the direction is
    kept, so that below 0.5 the forged pairs are the nearer ones. Raises ValueError without both kinds of pair.
    """
    measured: dict[Hashable, tuple[list[list[float]], list[list[float]]]] = {}
    for writer, forged, image in samples:
        rows = measured.setdefault(writer, ([], []))
        rows[int(forged)].append(list(shortcut_statistics(image).values()))
    same: list[NDArray[np.float64]] = []
    other: list[NDArray[np.float64]] = []
    for genuine_rows, forged_rows in measured.values():
        genuine, fakes = np.array(genuine_rows), np.array(forged_rows)  # (G, statistics), (F, statistics)
        same += [np.abs(genuine[one] - genuine[two]) for one, two in combinations(range(len(genuine)), 2)]
        other += [np.abs(one - two) for one in genuine for two in fakes]
    if not same or not other:
        raise ValueError("pairs of both kinds are needed")
    near, far = np.array(same), np.array(other)
    return {name: auc(near[:, column], far[:, column]) for column, name in enumerate(STATISTICS)}
