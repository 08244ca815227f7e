"""Ink parted from paper, against the same steps written down plainly."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import UnusableImage
from worker.ml.inkmask import EXACT_COUNTS, MIN_CLEARNESS, MIN_CONTRAST, MIN_SPECK, SPECK_SHARE, cut_out
from worker.ml.synthesis import generate_writer

Grey = NDArray[np.uint8]


def plainly(pixels: Grey) -> Grey | None:
    """Steps 1 to 4 as ``images.prepare`` describes them; None for a blank page."""
    level = otsu(pixels)
    ink = pixels <= level
    if ink.all() or not ink.any():
        return None
    paper = pixels[~ink].astype(float)
    if paper.mean() - pixels[ink].mean() < max(MIN_CONTRAST, MIN_CLEARNESS * paper.std()):
        return None
    least = max(MIN_SPECK, SPECK_SHARE * ink.sum())
    kept = np.zeros_like(ink)
    for piece in pieces(ink):
        if len(piece) >= least:
            kept[tuple(zip(*piece, strict=True))] = True
    if not kept.any():
        return None
    rows, columns = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.where(kept, np.maximum(255 - pixels, 1), 0)[window].astype(np.uint8)


def otsu(pixels: Grey) -> int:
    """The lowest level that maximises the variance between ink and paper."""
    levels = sorted(set(pixels.ravel().tolist()))
    variances = []
    for level in levels[:-1]:
        dark, light = pixels[pixels <= level].astype(float), pixels[pixels > level].astype(float)
        variances.append(len(dark) * len(light) * (light.mean() - dark.mean()) ** 2)
    return levels[int(np.argmax(variances))] if variances else 255


def pieces(ink: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Each piece of ink, with all that touches it from eight sides, found by flooding."""
    left = {(int(row), int(column)) for row, column in np.argwhere(ink)}
    found = []
    while left:
        piece, edge = [], deque([left.pop()])
        while edge:
            row, column = edge.popleft()
            piece.append((row, column))
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= around
            edge.extend(around)
        found.append(piece)
    return found


def same(pixels: Grey) -> bool:
    """Whether both find the same; whatever it is."""
    expected = plainly(pixels)
    try:
        found = cut_out(pixels)
    except UnusableImage as error:
        return error.code == "image_blank" and expected is None
    return expected is not None and np.array_equal(found, expected)


@pytest.fixture(scope="module")
def signatures() -> list[Grey]:
    """Generated ones, a half of their width and height: flooding in Python takes its time."""
    return [made.image[::2, ::2].copy() for writer in range(3) for made in generate_writer(5, writer, 3, 1)]


@pytest.mark.parametrize("specks", [0.0, 0.002, 0.03], ids=["clean", "specked", "peppered"])
def test_signatures_are_cut_out_as_the_steps_say(signatures: list[Grey], specks: float) -> None:
    rng, unlike = np.random.default_rng(7), 0
    for pixels in signatures:
        dirty = np.where(rng.random(pixels.shape) < specks, 40, pixels).astype(np.uint8)
        assert same(dirty)
        unlike += (plainly(dirty) is not None) and not np.array_equal(dirty, pixels)
    assert unlike == (len(signatures) if specks else 0)  # specks were there to be erased


def test_any_pixels_are_parted_as_the_steps_say() -> None:
    """Pages of few greys and of all, where ink touches the edge, is one pixel, or fills nearly all of the page."""
    rng, blank = np.random.default_rng(11), 0
    for number in range(300):
        shape = tuple(rng.integers(1, 24, 2).tolist())
        levels = rng.integers(0, 256, int(rng.integers(1, 5))) if number % 3 else np.arange(256)
        pixels = rng.choice(levels, shape).astype(np.uint8)
        if number % 2:
            pixels[: shape[0] // 2] = 255
        assert same(pixels), pixels.tolist()
        blank += plainly(pixels) is None
    assert 30 < blank < 270


def test_a_page_of_more_pixels_than_float32_counts_is_parted_alike(signatures: list[Grey]) -> None:
    drawn = np.where(signatures[0] < 128, 20, 255).astype(np.uint8)
    page = np.full((4100, EXACT_COUNTS // 4000), 255, np.uint8)
    page[1000 : 1000 + drawn.shape[0], 2000 : 2000 + drawn.shape[1]] = drawn
    assert np.array_equal(cut_out(page), cut_out(drawn))
