"""Arguments of the published networks."""

from typing import Any

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
}
