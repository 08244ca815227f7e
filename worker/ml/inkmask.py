"""Ink parted from paper: which pixels of a page are the signature."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import UnusableImage

Grey = NDArray[np.uint8]  # (H, W)

MIN_CONTRAST = 24.0  # grey levels between the mean of the paper and the mean of the ink
MIN_CLEARNESS = 4.0  # the same, in deviations of the paper; Gaussian noise reaches 2.6, an even gradient 3.5
MIN_SPECK = 5  # pixels; smaller pieces of ink are never kept
SPECK_SHARE = 0.002  # of all ink pixels
EXACT_COUNTS = 2**24  # pixels; OpenCV counts in float32, at twice NumPy's pace


def binarise(pixels: Grey) -> Grey:
    """Take pen and scanner away: all ink 0, all paper 255, parted by Otsu's threshold as in ``images.prepare``.

    Takes and returns uint8 height x width. Raises UnusableImage with code image_blank: of noise, which has no ink,
    two clear levels would be made that no later check could tell from a signature.
    """
    level, _ = cv2.threshold(pixels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _check_contrast(pixels, int(level))
    return np.where(pixels <= level, 0, 255).astype(np.uint8)


def cut_out(pixels: Grey) -> Grey:
    """Inverted grey ink on 0, cropped to itself: steps 1 to 4 of ``images.prepare``.

    Takes uint8 height x width. Raises UnusableImage with code image_blank.
    """
    level, whole = cv2.threshold(pixels, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    _check_contrast(pixels, int(level))
    x, y, width, height = cv2.boundingRect(whole)
    mask: Grey = np.array(whole[y : y + height, x : x + width], np.uint8)
    _erase_specks(mask)
    left, top, width, height = cv2.boundingRect(mask)
    window = np.s_[y + top : y + top + height, x + left : x + left + width]
    # Some paper is lighter than all ink, so that ink is never 255 and never becomes 0.
    inverted = cv2.bitwise_not(pixels[window])
    return np.asarray(cv2.copyTo(inverted, mask[top : top + height, left : left + width]), np.uint8)


def _erase_specks(mask: Grey) -> None:
    """Set small pieces of ink to 0 in ``mask``, where ink is 1.

    OpenCV's own statistics of the pieces take four times as long as finding them; ink is few of the pixels.
    """
    _, labels = cv2.connectedComponentsWithAlgorithm(mask, 8, cv2.CV_32S, cv2.CCL_GRANA)
    ink = np.flatnonzero(mask)
    pieces = np.asarray(labels).reshape(-1)[ink]
    areas = np.bincount(pieces)  # of label 0, the paper, none
    kept = areas >= max(MIN_SPECK, SPECK_SHARE * len(ink))
    if not kept.any():
        raise _blank()
    mask.reshape(-1)[ink[~kept[pieces]]] = 0


def _check_contrast(pixels: Grey, level: int) -> None:
    counts = _histogram(pixels)
    greys = np.arange(256, dtype=np.float64)
    ink, paper = counts[: level + 1], counts[level + 1 :]
    if not ink.sum() or not paper.sum():
        raise _blank()
    paper_mean = paper @ greys[level + 1 :] / paper.sum()
    contrast = paper_mean - ink @ greys[: level + 1] / ink.sum()
    spread = np.sqrt(paper @ (greys[level + 1 :] - paper_mean) ** 2 / paper.sum())
    if contrast < max(MIN_CONTRAST, MIN_CLEARNESS * spread):
        raise _blank()


def _histogram(pixels: Grey) -> NDArray[np.float64]:
    """How many pixels have each of the 256 greys."""
    if pixels.size > EXACT_COUNTS:
        return np.bincount(pixels.ravel(), minlength=256).astype(np.float64)
    return cv2.calcHist([pixels], [0], None, [256], [0, 256]).ravel().astype(np.float64)


def _blank() -> UnusableImage:
    return UnusableImage(
        "image_blank", "No ink was found: the image is blank or too faint. Send a scan with more contrast."
    )
