"""The UNet as a plain PyTorch module: it needs PyTorch alone, no Keras."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from anyvox_keras.networks.strides import multiples, pooling_strides


class TorchUNet(nn.Module):
    """`UNet` for PyTorch: `(B, C, D, H, W)` to `(B, output_channels, D, H, W)`, any space.

    The layers and, in evaluation mode, the numbers are those of `UNet`; its state dict has the keys
    of the paper's code, so that a published checkpoint loads as it is. `UNet.to_torch` makes one
    with a network's weights.

    Args:
        input_channels: Channels of the input.
        output_channels: Features of each voxel.
        width: Channels of the first level.
        levels: Number of poolings.
        normalization: As of `UNet`: `"batch"`, `"instance"`, `"instance_affine"` or `"none"`.
        epsilon: Added to the variance.
        pooling: `"max"` or `"average"`.
        upsampling: `"nearest"` or `"trilinear"`.
        skips: Whether the decoder sees the encoder's activations.
        spacing: As of `UNet`: voxel size along each axis, by which thick slices are pooled later.

    Example:
        ```python
        import torch
        from anyvox_keras.networks.torch_unet import TorchUNet

        unet = TorchUNet(width=4, levels=2).eval()
        features = unet(torch.zeros(1, 1, 20, 24, 18))  # (1, 16, 20, 24, 18)
        ```
    """

    def __init__(
        self,
        input_channels: int = 1,
        output_channels: int = 16,
        width: int = 16,
        levels: int = 4,
        normalization: str = "batch",
        epsilon: float = 1e-5,
        pooling: str = "max",
        upsampling: str = "nearest",
        skips: bool = True,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.levels, self.skips = levels, skips
        self.normalization, self.epsilon = normalization, epsilon
        strides = pooling_strides(spacing, levels)
        self.multiples = multiples(strides)
        pool = nn.MaxPool3d if pooling == "max" else nn.AvgPool3d
        corners = None if upsampling == "nearest" else False
        widths = [width, *(width * 2**level for level in range(levels + 1))]
        modules = self._block(input_channels, width)
        #: places in the sequence of what the decoder sees, and of the upsamplings
        self.seen: list[int] = []
        self.ups: list[int] = []
        for level in range(levels):
            modules += self._block(widths[level], widths[level + 1])
            modules += self._block(widths[level + 1], widths[level + 1])
            self.seen.append(len(modules) - 1)
            modules.append(pool(strides[level]))
        deep = width * 2**levels
        modules += self._block(widths[levels], deep) + self._block(deep, deep)
        for level in range(levels, 0, -1):
            narrow = width * 2 ** (level - 1)
            self.ups.append(len(modules))
            factors = tuple(float(stride) for stride in strides[level - 1])
            up = nn.Upsample(scale_factor=factors, mode=upsampling, align_corners=corners)
            modules.append(up)
            modules += self._block(2 * narrow + (narrow if skips else 0), narrow)
            modules += self._block(narrow, narrow)
        modules.append(self._conv(width, output_channels))
        self.model = nn.ModuleList(modules)

    def _block(self, before: int, after: int) -> list[nn.Module]:
        norms: dict[str, Any] = {
            "batch": lambda: nn.BatchNorm3d(after, self.epsilon),
            "instance": lambda: nn.InstanceNorm3d(after, self.epsilon),
            "instance_affine": lambda: nn.InstanceNorm3d(after, self.epsilon, affine=True),
            "none": nn.Identity,
        }
        return [self._conv(before, after), norms[self.normalization](), nn.ReLU()]

    def _conv(self, before: int, after: int) -> nn.Module:
        bias = self.normalization == "instance"
        return nn.Conv3d(before, after, 3, padding=1, padding_mode="reflect", bias=bias)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Compute the features of `(B, C, D, H, W)`."""
        sides = volumes.shape[2:]
        x = self._padded(volumes)
        skips: list[torch.Tensor] = []
        for index, module in enumerate(self.model):
            x = module(x)
            if self.skips and index in self.seen:
                skips.append(x)
            if self.skips and index in self.ups:
                x = torch.cat([skips.pop(), x], dim=1)
        if torch.compiler.is_exporting():
            # A slice would fix whether it cuts something off.
            for axis, side in enumerate(sides, 2):
                x = x.index_select(axis, torch.arange(side, device=x.device))
            return x
        d, h, w = sides
        return x[:, :, :d, :h, :w]

    def _padded(self, x: torch.Tensor) -> torch.Tensor:
        """Mirror the far ends until every side is a multiple that the poolings divide."""
        for axis, multiple in enumerate(self.multiples, 2):
            side = x.shape[axis]
            target = max((side + multiple - 1) // multiple, 2) * multiple
            # An exported graph, whose sides are free, cannot ask.
            if torch.compiler.is_exporting() or target != side:
                place = torch.arange(target, device=x.device)
                period = torch.full_like(place, 2 * (side - 1))
                place = torch.remainder(place, period.clamp(min=1))
                x = x.index_select(axis, torch.minimum(place, period - place))
        return x


def twin(arguments: dict[str, Any], state: dict[str, Any]) -> TorchUNet:
    """Make a module in evaluation mode that holds a state of arrays.

    Args:
        arguments: Of `TorchUNet`.
        state: Arrays by the paper's keys.
    """
    module = TorchUNet(**arguments)
    module.load_state_dict({key: torch.tensor(array) for key, array in state.items()})
    return module.eval()


def with_classes(module: TorchUNet, kernel: Any, bias: Any) -> nn.Module:
    """Put a head of 1x1x1 convolutions behind a UNet.

    Args:
        module: The UNet.
        kernel: `(1, 1, 1, features, classes)`, as Keras has it.
        bias: `(classes,)`.
    """
    head = nn.Conv3d(kernel.shape[-2], kernel.shape[-1], 1)
    arrays = {"weight": kernel.transpose(4, 3, 0, 1, 2), "bias": bias}
    head.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return nn.Sequential(module, head).eval()


class ChannelsLast(nn.Module):
    """Let a module of `(B, C, D, H, W)` take and give channels last, as Keras does.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Move the channels to and fro."""
        features: torch.Tensor = self.module(volumes.movedim(-1, 1))
        return features.movedim(1, -1)
