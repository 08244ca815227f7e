"""Batches for the tests of the losses."""

from __future__ import annotations

import torch

# As exact as each type is, and its sums over a few dozen terms.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 2e-2}

LABELS = {
    "two writers with forgeries": ([1, 1, 1, 2, 2, 2], [False, False, True, False, False, True]),
    "no forgeries": ([1, 1, 2, 2, 3], [False] * 5),
    "one writer": ([4, 4, 4, 4, 4], [False, True, True, False, False]),
    "mixed": ([3, 1, 2, 2, 1, 3, 2, 1, 3, 3], [False, True, True] + [False] * 6 + [True]),
}
WITHOUT_LESSON = {
    "strangers' forgeries": ([1, 2, 3], [True, True, True]),
    "a forgery beside a stranger": ([1, 2], [True, False]),
    "one image": ([1], [False]),
}


def rows_of(count: int, dtype: torch.dtype, seed: int = 3, width: int = 5) -> torch.Tensor:
    """Embeddings (count, width) about 1.5 long."""
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scaled: torch.Tensor = rows * 1.5 / width**0.5
    return scaled.to(dtype)


def gradient_of(loss: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """What ``loss`` asks of ``rows``."""
    torch.autograd.backward(loss)
    assert rows.grad is not None
    return rows.grad
