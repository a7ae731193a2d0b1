"""The UNet's layout in plain PyTorch, as one would write it without this package."""

import torch
from torch import nn


def block(channels: int, filters: int) -> nn.Sequential:
    """Reflect-padded convolution, batch norm, ReLU."""
    conv = nn.Conv3d(channels, filters, 3, padding=1, padding_mode="reflect", bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(filters), nn.ReLU(inplace=True))


def two(channels: int, filters: int) -> nn.Sequential:
    """Two blocks."""
    return nn.Sequential(block(channels, filters), block(filters, filters))


class PlainUNet(nn.Module):
    """Same convolutions in the same order, channels first, sides that poolings divide."""

    def __init__(self, width: int = 16, levels: int = 4, outputs: int = 16) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(levels)]
        self.stem = block(1, width)
        self.encoder = nn.ModuleList(
            two(before, size) for before, size in zip([width, *sizes], sizes, strict=False)
        )
        self.bottleneck = two(sizes[-1], 2 * sizes[-1])
        self.decoder = nn.ModuleList(two(3 * size, size) for size in reversed(sizes))
        self.output = nn.Conv3d(width, outputs, 3, padding=1, padding_mode="reflect", bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of `(B, 1, D, H, W)`."""
        x, skips = self.stem(x), []
        for level in self.encoder:
            skips.append(level(x))
            x = nn.functional.max_pool3d(skips[-1], 2)
        x = self.bottleneck(x)
        for level in self.decoder:
            up = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = level(torch.cat([skips.pop(), up], 1))
        return self.output(x)
