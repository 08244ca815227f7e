"""Convolutions with far fewer multiplications, for inference in float32 on the CPU (Lavin and Gray 2016).

A tile of m x m outputs of an r x r convolution takes (m + r - 1)^2 multiplications for each pair of channels in place
of m^2 r^2: tile and kernel are evaluated as polynomials at a few points, multiplied there, and brought back. The
numbers are those of the plain convolution but for rounding, some 1e-4 of their spread.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

Doubles = NDArray[np.float64]

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity: small numbers, so that little is lost by rounding
_TILES = {3: 6, 5: 4}  # kernel's side: the outputs' side; 8 x 8 points for both
# Channels in times channels out. With fewer, making the tiles costs more than it spares (benchmarks/NOTES.md).
_LEAST_CHANNELS = 24_000
_NEW = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear)  # layers whose output nobody else reads
_CONVOLVED = 16  # images from which on torch leaves a convolution of 1 x 1 to oneDNN, with one thread too
_LEAST_PRODUCTS = 2**23  # multiplications at one point; with fewer the call itself costs more than it gains
_ROOM = 2**26  # bytes of tiles at a time: with fewer the products at each point become small


def quickened(network: nn.Module) -> nn.Module:
    """``network``, in evaluation mode, made quicker: changes it in place, and its state dict with it.

    A normalisation becomes part of the convolution before it; a ReLU changes places with the pooling behind it, which
    leaves it a quarter of the numbers; convolutions that gain by it are computed by Winograd's method.
    """
    for name, layer in list(network.named_children()):
        setattr(network, name, _in_order(layer) if isinstance(layer, nn.Sequential) else _replaced(layer))
    return network


def _in_order(layers: nn.Sequential) -> nn.Sequential:
    """The same for layers that follow each other."""
    made: list[nn.Module] = []
    for layer in layers:
        before = made[-1] if made else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            made[-1] = fuse_conv_bn_eval(before, layer)
        elif isinstance(layer, nn.MaxPool2d) and isinstance(before, nn.ReLU):
            made[-1:] = [layer, before]  # the largest of what is cut off at 0 is what is cut off of the largest
        elif isinstance(layer, nn.ReLU) and isinstance(before, _NEW):
            made.append(nn.ReLU(inplace=True))
        else:
            made.append(layer)
    return nn.Sequential(*map(_replaced, made))


def _replaced(layer: nn.Module) -> nn.Module:
    if not isinstance(layer, nn.Conv2d):
        return _in_order(layer) if isinstance(layer, nn.Sequential) else quickened(layer)
    if _gains(layer):
        return Winograd(layer)
    if layer.in_channels == 1:  # torch takes a single channel's weights for channels first, and reorders them each time
        layer.weight.data = layer.weight.data.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return layer


def _gains(layer: nn.Conv2d) -> bool:
    side = layer.kernel_size[0]
    return (
        side in _TILES
        and layer.kernel_size == (side, side)
        and layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.in_channels * layer.out_channels >= _LEAST_CHANNELS
    )


class Winograd(nn.Module):
    """What ``layer`` computes, of stride 1 and a kernel of 3 x 3 or 5 x 5; its weights as they are now."""

    kernels: torch.Tensor
    inward: torch.Tensor
    outward: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.side = layer.kernel_size[0]
        self.outputs = _TILES[self.side]
        self.points = self.outputs + self.side - 1
        padding = layer.padding
        assert not isinstance(padding, str)  # noqa: S101 (quickened has looked)
        self.padding = (padding[1], padding[0])  # across, down
        inward, kernel, outward = transforms(self.outputs, self.side)
        weights = layer.weight.detach().cpu().double().numpy()
        flat = weights.reshape(-1, self.side**2)  # (out x in, side^2)
        kernels = (np.kron(kernel, kernel) @ flat.T).reshape(-1, *weights.shape[:2])  # one product, in the order wanted
        self.register_buffer("kernels", _single(kernels))  # (points^2, out, in)
        self.register_buffer("inward", _single(inward))
        self.register_buffer("outward", _single(outward))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, O, H', W'), both float32 and channels_last."""
        across, down = self.padding
        height = maps.shape[2] + 2 * down - self.side + 1
        width = maps.shape[3] + 2 * across - self.side + 1
        rows, columns = -(-height // self.outputs), -(-width // self.outputs)
        beyond = (columns * self.outputs - width, rows * self.outputs - height)
        margins = (0, 0, across, across + beyond[0], down, down + beyond[1])
        together = max(1, _ROOM // (4 * self.points**2 * rows * columns * sum(self.kernels.shape[1:])))  # images
        out = maps.new_empty(len(maps), height, width, self.kernels.shape[1])
        for first in range(0, len(maps), together):
            part = functional.pad(maps[first : first + together].permute(0, 2, 3, 1), margins)
            out[first : first + together] = self._convolve(part)[:, :height, :width]
        return out.permute(0, 3, 1, 2)

    def _convolve(self, padded: torch.Tensor) -> torch.Tensor:
        """Whole tiles: (N, rows x outputs + side - 1, ..., C) to (N, rows x outputs, columns x outputs, O)."""
        points, step = self.points, self.outputs
        tiles = padded.unfold(1, points, step).unfold(2, points, step)  # (N, rows, columns, C, points, points)
        count, rows, columns, channels = tiles.shape[:4]
        flat = tiles.permute(4, 5, 0, 1, 2, 3).reshape(points, -1)
        seen = _both_ways(self.inward, flat).view(points**2, -1, channels)
        made = self._over_channels(seen)
        out = _both_ways(self.outward, made.view(points, -1)).view(step, step, count, rows, columns, -1)
        if self.bias is not None:
            out.add_(self.bias)
        return out.permute(2, 3, 0, 4, 1, 5).reshape(count, rows * step, columns * step, -1)

    def _over_channels(self, seen: torch.Tensor) -> torch.Tensor:
        """Tiles (points^2, T, C) times the kernels: (points^2, T, O).

        As convolutions of 1 x 1 where they are as quick as torch can be: oneDNN's, of 16 images or more, have twice the
        rate of its matrix products, which on some processors know no AVX-512.
        """
        count, channels = seen.shape[1:]
        if count % _CONVOLVED or count * self.kernels[0].numel() < _LEAST_PRODUCTS:
            return torch.bmm(seen, self.kernels.transpose(1, 2))
        made = seen.new_empty(len(seen), count, self.kernels.shape[1])
        for tiles, kernel, place in zip(seen, self.kernels, made, strict=True):
            images = tiles.view(_CONVOLVED, -1, 1, channels).permute(0, 3, 1, 2)
            product = functional.conv2d(images, kernel[:, :, None, None])
            place.view(_CONVOLVED, -1, 1, len(kernel)).copy_(product.permute(0, 2, 3, 1))
        return made


def transforms(outputs: int, side: int) -> tuple[Doubles, Doubles, Doubles]:
    """Matrices to the points: of a tile (P, P), of a kernel (P, side); and back, of the products (outputs, P).

    P is outputs + side - 1. out (kernel k * in x) is the convolution of x (P,) with k (side,), as networks have it:
    the transposed form of multiplying two polynomials by their values at P points.
    """
    count = outputs + side - 1
    kernel, inward = _values(count, side), np.linalg.inv(_values(count, count)).T
    scale = np.abs(kernel).sum(1, keepdims=True)  # kernels near 1 at all points lose least
    return inward * scale, kernel / scale, _values(count, outputs).T


def _values(count: int, length: int) -> Doubles:
    """The powers 0..length - 1 of ``count`` points (count, length), the last of them infinity."""
    finite = np.array(_POINTS[: count - 1])[:, None] ** np.arange(length)
    return np.concatenate([finite, np.eye(length)[-1:]])


def _both_ways(matrix: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """``matrix`` (A, P) applied down and across to P x P of anything, given as (P, P x anything): (A, A, anything)."""
    count, size = matrix.shape
    return torch.matmul(matrix, (matrix @ flat).view(count, size, -1))


def _single(values: Doubles) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))
