"""Small changes to canvases that leave the writer's identity alone: how the page lay, how strong the pen inked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Largest changes, each drawn evenly from both sides of none. Angles in radians, shifts in shares of a side."""

    rotation: float = 0.09
    shear: float = 0.10
    scale: float = 0.10
    stretch: float = 0.06  # of the height against the width
    shift: float = 0.04
    ink: float = 0.25  # of the ink's brightness


_DEFAULT = Augmentation()


def augment(canvases: torch.Tensor, generator: torch.Generator, sizes: Augmentation = _DEFAULT) -> torch.Tensor:
    """Change each canvas of (N, 1, H, W), float32 in 0..1, by its own small affine map and ink strength.

    ``generator`` lives on the CPU, so that a GPU sees the same changes. Nothing is mirrored and nothing is warped
    locally: those could turn a signature into a forgery of itself.
    """
    count, _, height, width = canvases.shape
    draws = torch.rand(7, count, generator=generator) * 2 - 1  # (7, N) in -1..1
    maps = _affine(draws[:6], height / width, sizes).to(canvases.device)
    gain = (1 + sizes.ink * draws[6]).to(canvases.device)
    grid = functional.affine_grid(maps, list(canvases.shape), align_corners=False)  # (N, H, W, 2)
    moved = functional.grid_sample(canvases, grid, mode="bilinear", align_corners=False)
    return (moved * gain[:, None, None, None]).clamp(0, 1)


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
