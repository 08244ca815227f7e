from __future__ import annotations

import pytest
import torch

from worker.ml.augmentation import LIGHT, NONE, STRONG, Augmentation, augment, augmentation_of, elastic_reach


def blot(count: int = 1) -> torch.Tensor:
    """A bright square, 20 x 20, in the middle of a 96 x 192 canvas."""
    canvases = torch.zeros(count, 1, 96, 192)
    canvases[:, :, 38:58, 86:106] = 0.6
    return canvases


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sizes", [NONE, Augmentation(borders=True), Augmentation(rotation=1e-9)])
def test_no_change_is_no_change(sizes: Augmentation) -> None:
    canvases = torch.rand(3, 1, 20, 30, generator=generator())
    assert torch.allclose(augment(canvases, generator(), sizes), canvases, atol=1e-5)


@pytest.mark.parametrize("sizes", [LIGHT, STRONG, augmentation_of("strong", "photo")])
def test_the_generator_decides_and_the_original_is_left_alone(sizes: Augmentation) -> None:
    canvases = blot(6)
    one, same, other = (augment(canvases, generator(seed), sizes) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    assert torch.equal(canvases, blot(6))


@pytest.mark.parametrize("shape", [(1, 96, 192), (3, 33, 47), (1, 105, 105)])
def test_strong_changes_take_any_canvas_and_stay_in_range(shape: tuple[int, int, int]) -> None:
    changed = augment(torch.rand(40, *shape, generator=generator()), generator(), STRONG)
    assert changed.shape == (40, *shape)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_values_stay_in_range_and_ink_stays_ink() -> None:
    changed = augment(torch.cat([blot(20), torch.ones(4, 1, 96, 192)]), generator())
    assert changed.min() >= 0
    assert changed.max() <= 1
    mass = changed[:20].sum((1, 2, 3)) / blot().sum()
    assert mass.min() > 0.4
    assert mass.max() < 1.9


def test_ink_strength_alone_scales_the_canvas() -> None:
    changed = augment(blot(50), generator(), Augmentation(ink=0.2))
    gains = changed[:, 0, 48, 96] / 0.6
    assert gains.min() < 0.85
    assert gains.max() > 1.15
    assert torch.allclose(changed, blot() * gains[:, None, None, None], atol=1e-5)


def test_rotation_keeps_shapes_on_a_canvas_that_is_not_square() -> None:
    bar = torch.zeros(40, 1, 96, 192)
    bar[:, :, 46:50, 56:136] = 1
    changed = augment(bar, generator(), Augmentation(rotation=0.3))
    assert changed.sum((1, 2, 3)) == pytest.approx(bar.sum((1, 2, 3)), rel=0.03)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(192.0), indexing="ij")
    for canvas in changed[:, 0]:
        spread = [
            ((canvas * (axis - (canvas * axis).sum() / canvas.sum()) ** 2).sum() / canvas.sum()).item()
            for axis in (rows, columns)
        ]
        assert sum(spread) == pytest.approx((80**2 + 4**2 - 2) / 12, rel=0.03)  # second moment of the bar


def test_shift_alone_moves_by_at_most_its_share() -> None:
    changed = augment(blot(60), generator(), Augmentation(shift=0.1))
    columns = torch.arange(192.0)
    middles = (changed.sum((1, 2)) * columns).sum(1) / changed.sum((1, 2, 3))
    assert 15 < (middles - 95.5).abs().max() <= 19.2


def dots() -> torch.Tensor:
    """A dot of 5 x 5 pixels, brightest in its middle, in the middle of each of 8 x 4 fields of 24 x 24 pixels."""
    canvas = torch.zeros(96, 192)
    peak = 1 - (torch.arange(5.0) - 2).abs() / 3
    for top in range(12, 96, 24):
        for left in range(12, 192, 24):
            canvas[top - 2 : top + 3, left - 2 : left + 3] = peak[:, None] * peak
    return canvas


def test_the_elastic_warp_moves_no_point_beyond_its_reach_and_neighbours_together() -> None:
    reach = elastic_reach(STRONG)
    assert reach[0] < 0.016
    assert reach[1] < 0.026
    largest = Augmentation(elastic_across=10 * STRONG.elastic_across / 4, elastic_down=10 * STRONG.elastic_down / 4)
    changed = augment(dots().expand(30, 1, 96, 192), generator(), largest)[:, 0]
    fields = changed.unfold(1, 24, 24).unfold(2, 24, 24)  # (30, 4, 8, 24, 24)
    mass = fields.sum((3, 4))
    across = (fields.sum(3) * torch.arange(24.0)).sum(3) / mass - 12
    down = (fields.sum(4) * torch.arange(24.0)).sum(3) / mass - 12
    assert 2 < across.abs().max() <= 2.5 * reach[0] * 192 + 0.3
    assert 1 < down.abs().max() <= 2.5 * reach[1] * 96 + 0.3
    assert (across[:, :, 1:] - across[:, :, :-1]).abs().max() < across.abs().max()


def test_strokes_grow_and_shrink_by_their_share_of_a_pixel_all_around() -> None:
    changed = augment(blot(120), generator(), Augmentation(stroke=0.5))[:, 0]
    edges, insides, corners = changed[:, 48, 106], changed[:, 48, 105], changed[:, 37, 85]
    assert edges.max() == pytest.approx(0.3, abs=0.02)  # half of the ink, one pixel out
    assert insides.min() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(edges > 0.01, corners > 0.01)
    assert (changed[:, 48, 107] < 1e-6).all()
    assert 40 < (edges > 0.001).sum() < 80


def test_some_images_have_saturated_ink() -> None:
    changed = augment(blot(90), generator(), Augmentation(hardened=1 / 3))[:, 0, 48, 96]
    assert 15 < (changed > 0.61).sum() < 45
    assert changed.max() == 1
    assert torch.allclose(changed[changed < 0.61], torch.tensor(0.6), atol=1e-5)


def test_gamma_keeps_blank_and_full_ink() -> None:
    canvases = torch.cat([torch.zeros(1, 1, 96, 64), torch.full((1, 1, 96, 64), 0.5), torch.ones(1, 1, 96, 64)], 3)
    changed = augment(canvases.expand(50, 1, 96, 192), generator(), Augmentation(gamma=0.3))[:, 0, 48]
    assert changed[:, 10].abs().max() < 1e-6
    assert (changed[:, 180] - 1).abs().max() < 1e-5
    assert 0.38 < changed[:, 96].min() < 0.43
    assert 0.57 < changed[:, 96].max() < 0.61


@pytest.mark.parametrize(
    ("sizes", "least", "most"),
    [
        (Augmentation(specks=0.5), 1, 48),
        (Augmentation(ruled=0.5), 96, 192 * 96 * 0.2),
        (Augmentation(stamped=0.5), 4, 192 * 96 * 0.2),
    ],
)
def test_what_crosses_adds_ink_to_a_share_and_takes_none(sizes: Augmentation, least: int, most: float) -> None:
    changed = augment(blot(60), generator(), sizes)
    touched = (changed != augment(blot(60), generator(), Augmentation(hardest=1.5, rotation=1e-9))).flatten(1).sum(1)
    crossed = touched[touched > 0]
    assert 15 <= len(crossed) <= 45
    assert least <= crossed.min()
    assert crossed.max() <= most
    assert (changed - blot(60)).min() > -1e-5


def test_erased_boxes_are_small_and_few() -> None:
    changed = augment(torch.ones(200, 1, 96, 192), generator(), Augmentation(erased=0.25))
    gone = (changed < 0.5).float().mean((1, 2, 3))
    assert 30 < (gone > 0).sum() < 70
    assert gone[gone > 0].min() > 0.003
    assert 0.02 < gone.max() < 0.05  # 15% by 30%, and no more


def test_noise_comes_to_some_images_at_its_strength() -> None:
    changed = augment(torch.full((60, 1, 96, 192), 0.5), generator(), Augmentation(noise=0.1))
    spread = changed.flatten(1).std(1)
    assert 10 < (spread > 1e-4).sum() < 35
    assert 0.05 < spread.max() <= 0.11


def test_photos_keep_their_brightness_and_their_border() -> None:
    sizes = augmentation_of("light", "photo")
    changed = augment(torch.full((20, 3, 32, 32), 0.7), generator(), sizes)
    assert torch.allclose(changed, torch.tensor(0.7), atol=1e-5)
    assert augmentation_of("none", "signature") == NONE
