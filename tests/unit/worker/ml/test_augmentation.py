from __future__ import annotations

import pytest
import torch

from worker.ml.augmentation import Augmentation, augment

NONE = Augmentation(rotation=0, shear=0, scale=0, stretch=0, shift=0, ink=0)


def blot(count: int = 1) -> torch.Tensor:
    """A bright square, 20 x 20, in the middle of a 96 x 192 canvas."""
    canvases = torch.zeros(count, 1, 96, 192)
    canvases[:, :, 38:58, 86:106] = 0.6
    return canvases


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_change_is_no_change() -> None:
    canvases = torch.rand(3, 1, 20, 30, generator=generator())
    assert torch.allclose(augment(canvases, generator(), NONE), canvases, atol=1e-5)


def test_the_generator_decides() -> None:
    one, same, other = (augment(blot(2), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_values_stay_in_range_and_ink_stays_ink() -> None:
    changed = augment(torch.cat([blot(20), torch.ones(4, 1, 96, 192)]), generator())
    assert changed.min() >= 0
    assert changed.max() <= 1
    mass = changed[:20].sum((1, 2, 3)) / blot().sum()
    assert mass.min() > 0.4
    assert mass.max() < 1.9


def test_ink_strength_alone_scales_the_canvas() -> None:
    changed = augment(blot(50), generator(), Augmentation(rotation=0, shear=0, scale=0, stretch=0, shift=0, ink=0.2))
    gains = changed[:, 0, 48, 96] / 0.6
    assert gains.min() < 0.85
    assert gains.max() > 1.15
    assert torch.allclose(changed, blot() * gains[:, None, None, None], atol=1e-5)


def test_rotation_keeps_shapes_on_a_canvas_that_is_not_square() -> None:
    bar = torch.zeros(40, 1, 96, 192)
    bar[:, :, 46:50, 56:136] = 1
    changed = augment(bar, generator(), Augmentation(rotation=0.3, shear=0, scale=0, stretch=0, shift=0, ink=0))
    assert changed.sum((1, 2, 3)) == pytest.approx(bar.sum((1, 2, 3)), rel=0.03)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(192.0), indexing="ij")
    for canvas in changed[:, 0]:
        spread = [
            ((canvas * (axis - (canvas * axis).sum() / canvas.sum()) ** 2).sum() / canvas.sum()).item()
            for axis in (rows, columns)
        ]
        assert sum(spread) == pytest.approx((80**2 + 4**2 - 2) / 12, rel=0.03)  # second moment of the bar


def test_shift_alone_moves_by_at_most_its_share() -> None:
    changed = augment(blot(60), generator(), Augmentation(rotation=0, shear=0, scale=0, stretch=0, shift=0.1, ink=0))
    columns = torch.arange(192.0)
    middles = (changed.sum((1, 2)) * columns).sum(1) / changed.sum((1, 2, 3))
    assert 15 < (middles - 95.5).abs().max() <= 19.2
