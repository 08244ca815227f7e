"""Small changes to canvases that leave the writer's identity alone: how page, pen and scanner were, not the hand.

Nothing is mirrored. The elastic warp is of low frequency (5 x 3 nodes) and bounded: ``STRONG`` moves no point by more
than 1.6% of the canvas's width across and 2.6% of its height down, too little to make a forgery of a genuine signature.
All of ``STRONG`` takes 4% of a training step of ``compact`` on one core of a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch.nn import functional

from shared.specs import AugmentationName, PresetName

_NODES = (3, 5)  # of the elastic grid, down and across
_NOISY = 1 / 3  # share of images with scanner noise, when there is any
_SPECKS = 12  # of an image that has them


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Largest changes, each drawn evenly from both sides of none, and shares of images with an accident.

    Angles in radians, shifts in shares of a side, displacements in shares of half a side.
    """

    rotation: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0  # of the height against the width
    shift: float = 0.0
    elastic_across: float = 0.0  # displacement of the nodes of a coarse grid
    elastic_down: float = 0.0
    stroke: float = 0.0  # how far towards strokes one pixel thicker or thinner all around
    ink: float = 0.0  # of the ink's brightness
    gamma: float = 0.0  # of the logarithm of the brightness's exponent
    hardened: float = 0.0  # share of images whose ink is saturated, as binarised scans look
    hardest: float = 3.0  # gain of such an image, at most
    noise: float = 0.0  # standard deviation, of a brightness of 1
    specks: float = 0.0  # share of images with specks of dust
    ruled: float = 0.0  # share with ruled lines across
    stamped: float = 0.0  # share with the outline of a stamp across
    erased: float = 0.0  # share with a small box gone
    borders: bool = False  # what comes in from outside repeats the border, rather than being empty


NONE = Augmentation()
LIGHT = Augmentation(rotation=0.09, shear=0.10, scale=0.10, stretch=0.06, shift=0.04, ink=0.25)
STRONG = replace(
    LIGHT, elastic_across=0.018, elastic_down=0.03, stroke=0.6, gamma=0.3, hardened=1 / 3, noise=0.04, specks=0.1,
    ruled=0.08, stamped=0.05, erased=0.25,
)  # fmt: skip
_BY_NAME: dict[AugmentationName, Augmentation] = {"none": NONE, "light": LIGHT, "strong": STRONG}


def augmentation_of(name: AugmentationName, preset: PresetName = "signature") -> Augmentation:
    """The changes of that name for canvases of ``preset``: a photo has no ink, and its border goes on beyond it."""
    chosen = _BY_NAME[name]
    if preset == "signature":
        return chosen
    return replace(
        chosen, stroke=0.0, ink=0.0, gamma=0.0, hardened=0.0, specks=0.0, ruled=0.0, stamped=0.0, erased=0.0,
        borders=True,
    )  # fmt: skip


def augment(canvases: torch.Tensor, generator: torch.Generator, sizes: Augmentation = LIGHT) -> torch.Tensor:
    """Change each canvas of (N, C, H, W), float32 in 0..1, by its own small changes; a new tensor, or the same one.

    ``generator`` lives on the CPU, so that a GPU sees the same changes.
    """
    if sizes in (NONE, replace(NONE, borders=True)):
        return canvases
    changed = _warped(canvases, generator, sizes)
    if sizes.stroke:
        changed = _stroked(changed, _around(generator, len(changed), sizes.stroke))
    _erase(changed, generator, sizes.erased)
    _cross(changed, generator, sizes)
    if sizes.noise:
        _add_noise(changed, generator, sizes.noise)
    return _inked(changed, generator, sizes)


def elastic_reach(sizes: Augmentation) -> tuple[float, float]:
    """The largest displacement that the elastic warp can reach, in shares of the canvas's width and of its height."""
    down, across = (_basis(nodes, 512).abs().sum(1).max().item() for nodes in _NODES)
    return sizes.elastic_across / 2 * down * across, sizes.elastic_down / 2 * down * across


def _around(generator: torch.Generator, count: int, size: float) -> torch.Tensor:
    """(count,) drawn evenly from -size..size."""
    return (torch.rand(count, generator=generator) * 2 - 1) * size


def _some(generator: torch.Generator, count: int, share: float) -> torch.Tensor:
    """Indices of about ``share`` of ``count``."""
    return (torch.rand(count, generator=generator) < share).nonzero().flatten()


def _between(generator: torch.Generator, count: int, low: float, high: float) -> torch.Tensor:
    """(count, 1, 1) drawn evenly from low..high, to meet coordinates (H, 1) and (1, W)."""
    return torch.rand(count, 1, 1, generator=generator) * (high - low) + low


def _warped(canvases: torch.Tensor, generator: torch.Generator, sizes: Augmentation) -> torch.Tensor:
    count, _, height, width = canvases.shape
    draws = torch.rand(6, count, generator=generator) * 2 - 1  # (6, N) in -1..1
    nodes = torch.rand(count, *_NODES, 2, generator=generator) * 2 - 1
    maps = _affine(draws, height / width, sizes)
    y, x = ((torch.arange(side) * 2 + 1) / side - 1 for side in (height, width))  # (H,), (W,) in -1..1
    # Where each pixel comes from is a sum of products of something along a column and something along a row.
    columns = [torch.ones_like(y)[:, None], y[:, None]]  # (H, K) in all
    constant = x[:, None] * maps[:, None, :, 0] + maps[:, None, :, 2]  # (N, W, 2)
    rows = [constant[:, None], maps[:, None, None, :, 1].expand(count, 1, width, 2)]  # (N, K, W, 2) in all
    if sizes.elastic_across or sizes.elastic_down:
        moves = nodes * torch.tensor([sizes.elastic_across, sizes.elastic_down])  # (N, 3, 5, 2)
        columns.append(_basis(_NODES[0], height))
        rows.append(torch.einsum("nijc,wj->niwc", moves, _basis(_NODES[1], width)))
    down, across = torch.cat(columns, 1).to(canvases.device), torch.cat(rows, 1).to(canvases.device)
    grid = (down @ across.flatten(2)).view(count, height, width, 2)
    outside = "border" if sizes.borders else "zeros"
    return functional.grid_sample(canvases, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def _affine(draws: torch.Tensor, aspect: float, sizes: Augmentation) -> torch.Tensor:
    """Maps (N, 2, 3) from the new canvas to the old, in coordinates of -1..1 along each side."""
    angle, shear = draws[0] * sizes.rotation, draws[1] * sizes.shear
    across = torch.exp(draws[2] * sizes.scale)
    down = across * torch.exp(draws[3] * sizes.stretch)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    # Rotation acts on pixels, which are not square in these coordinates: the aspect carries it over.
    top = torch.stack([cosine * across, (shear * cosine - sine) * across * aspect, 2 * sizes.shift * draws[4]], 1)
    bottom = torch.stack([sine * down / aspect, (shear * sine + cosine) * down, 2 * sizes.shift * draws[5]], 1)
    return torch.stack([top, bottom], 1)


@lru_cache(maxsize=8)
def _basis(nodes: int, length: int) -> torch.Tensor:
    """(length, nodes): what each node of a line contributes to each of its pixels, by cubic convolution."""
    one_each = torch.eye(nodes)[None, :, None, :]  # (1, nodes, 1, nodes)
    lines = functional.interpolate(one_each, (1, length), mode="bicubic", align_corners=True)
    return lines[0, :, 0].T.contiguous()


def _stroked(canvases: torch.Tensor, blend: torch.Tensor) -> torch.Tensor:
    """Strokes thicker where ``blend`` (N,) is above 0 and thinner below, by a share of one pixel all around."""
    out = torch.empty_like(canvases)
    for side in (1.0, -1.0):  # dilation, and erosion as the dilation of the background
        chosen = (blend * side > 0).nonzero().flatten().to(canvases.device)
        own = canvases[chosen]
        grown = side * _dilated(side * own)
        out[chosen] = own.lerp(grown, blend.abs().to(canvases.device)[chosen][:, None, None, None])
    return out


def _dilated(canvases: torch.Tensor) -> torch.Tensor:
    """The largest of each pixel and its eight neighbours: along rows first, then along columns."""
    out = canvases
    for axis in (3, 2):
        before, length = out, out.shape[axis] - 1
        out = before.clone()
        for here, there in ((0, 1), (1, 0)):
            part = out.narrow(axis, here, length)
            torch.maximum(part, before.narrow(axis, there, length), out=part)
    return out


def _erase(canvases: torch.Tensor, generator: torch.Generator, share: float) -> None:
    """Boxes of 5 to 15% of the width and 10 to 30% of the height emptied: a hidden or faded part."""
    if not share:
        return
    chosen = _some(generator, len(canvases), share)
    height, width = canvases.shape[2:]
    y, x = _coordinates(height, width)  # 0..1
    count = len(chosen)
    tall, broad = _between(generator, count, 0.1, 0.3), _between(generator, count, 0.05, 0.15)
    top, left = (_between(generator, count, 0, 1) * (1 - side) for side in (tall, broad))
    inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + broad)  # (n, H, W)
    canvases[chosen.to(canvases.device)] *= (~inside)[:, None].to(canvases.device)


def _cross(canvases: torch.Tensor, generator: torch.Generator, sizes: Augmentation) -> None:
    """Ink that is not the writer's: the brighter of it and of what is there stays."""
    for share, draw in ((sizes.specks, _specks), (sizes.ruled, _ruled_lines), (sizes.stamped, _stamps)):
        chosen = _some(generator, len(canvases), share) if share else torch.zeros(0, dtype=torch.long)
        if len(chosen):
            height, width = canvases.shape[2:]
            ink = draw(len(chosen), height, width, generator)[:, None].to(canvases.device)  # (n, 1, H, W)
            chosen = chosen.to(canvases.device)
            canvases[chosen] = torch.maximum(canvases[chosen], ink)


def _specks(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, H, W): specks of one or two pixels, of one brightness an image."""
    layer = torch.zeros(count, height + 1, width + 1)
    places = torch.rand(2, count, _SPECKS, generator=generator)
    down, across = (places[0] * height).long(), (places[1] * width).long()  # (count, specks)
    large = (torch.rand(count, _SPECKS, generator=generator) < 0.3).long()
    image = torch.arange(count)[:, None]
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        layer[image, down + y * large, across + x * large] = 1.0
    return layer[:, :height, :width] * _between(generator, count, 0.2, 0.9)


def _ruled_lines(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, H, W): parallel lines, nearly level, 1 to 2 pixels thick, at distances of a quarter of the height up."""
    y, x = _coordinates(height, width, pixels=True)
    gap = _between(generator, count, 0.25, 1.5) * height
    slope = _between(generator, count, -0.03, 0.03)
    place = y - slope * x - _between(generator, count, 0, 1) * gap
    away = ((place + gap / 2) % gap - gap / 2).abs()  # from the nearest line, pixels
    return _drawn(away, count, generator)


def _stamps(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, H, W): the outline of an oval or nearly rectangular stamp, centred anywhere (a superellipse)."""
    y, x = _coordinates(height, width, pixels=True)
    across, down = _between(generator, count, 0.15, 0.5) * width, _between(generator, count, 0.3, 0.8) * height
    corners = torch.where(_between(generator, count, 0, 1) < 0.5, 2.0, 8.0)
    aside = (x - _between(generator, count, 0, 1) * width).abs() / across
    above = (y - _between(generator, count, 0, 1) * height).abs() / down
    radius = (aside**corners + above**corners) ** (1 / corners)  # 1 on the outline
    return _drawn((radius - 1).abs() * torch.minimum(across, down), count, generator)


def _drawn(away: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Brightness (count, H, W) of lines whose middles are ``away`` pixels off: soft edges, each of its own strength."""
    thick = _between(generator, count, 1.0, 2.0)
    return (thick / 2 + 0.5 - away).clamp(0, 1) * _between(generator, count, 0.25, 0.9)


def _coordinates(height: int, width: int, pixels: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, 1) and (1, W): where the middles of the pixels lie, in pixels or in shares of the sides."""
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    return (y[:, None], x[None]) if pixels else (y[:, None] / height, x[None] / width)


def _add_noise(canvases: torch.Tensor, generator: torch.Generator, size: float) -> None:
    """Grain two pixels wide on some images: a scanner's noise is smeared by its optics and by resizing."""
    chosen = _some(generator, len(canvases), _NOISY)
    height, width = canvases.shape[2:]
    grain = torch.randn(len(chosen), 1, math.ceil(height / 2), math.ceil(width / 2), generator=generator)
    grain *= _between(generator, len(chosen), 0, size)[:, None]
    wide = grain.to(canvases.device).repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]
    canvases[chosen.to(canvases.device)] += wide


def _inked(canvases: torch.Tensor, generator: torch.Generator, sizes: Augmentation) -> torch.Tensor:
    """How strong the ink is: gamma, gain, and for some images a gain so high that the ink saturates."""
    count = len(canvases)
    exponent = torch.exp(_around(generator, count, sizes.gamma))
    gain = 1 + _around(generator, count, sizes.ink)
    hard = torch.rand(count, generator=generator) < sizes.hardened
    gain = torch.where(hard, 1 + torch.rand(count, generator=generator) * (sizes.hardest - 1), gain)
    changed = canvases.clamp_(0, 1)
    if sizes.gamma:
        changed = changed.pow_(exponent.to(canvases.device)[:, None, None, None])
    return changed.mul_(gain.to(canvases.device)[:, None, None, None]).clamp_(0, 1)
