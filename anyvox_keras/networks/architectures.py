"""Names of networks, and the arguments of those that are a UNet."""

from typing import Any

#: the packaged weights that are used where none are named
DEFAULT = "anyvox-base"
#: the published network that is a `ViT` of the default arguments
VIT = "anatomix-dev-vit"

# Instance normalisation: with one pair a step, running statistics would lag far behind.
_OWN: dict[str, Any] = dict(normalization="instance", epsilon=1e-2)

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "anatomix": {},
    "anatomix-dev": dict(
        width=32,
        levels=5,
        output_channels=32,
        normalization="instance",
        epsilon=1e-2,
        pooling="average",
        upsampling="trilinear",
    ),
    "anyvox-base": _OWN,
    "anyvox-small": dict(width=8, **_OWN),
}
