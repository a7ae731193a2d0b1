"""The pairwise registration network."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import check_finite, check_volumes, one_of
from anyvox_keras.export import export
from anyvox_keras.networks.presets import Presets
from anyvox_keras.voxelmorph.graph import CONVENTIONS, Graph, warp_both


@export
class VoxelMorph(Presets, keras.Model):
    """Predict the deformation between two images in one pass (Balakrishnan et al., TMI 2019).

    A UNet reads both images; a convolution makes a stationary velocity of its features; scaling
    and squaring integrates the velocity `v`, and `-v` for the way back (Dalca et al., MIA 2019);
    each image is warped onto the other. Encoder level: 3x3x3 convolution, leaky ReLU, 2x max
    pooling. Decoder level: convolution, leaky ReLU, 2x upsampling, skip behind it along channels;
    convolutions left over follow. Any space: images are padded by reflection to a multiple of
    `2**len(encoder)` for the UNet, the displacement is cropped back.

    Takes `{"fixed": (B, D, H, W, C), "moving": ...}`, on one grid. Returns float32 arrays:

    - `displacement` `(B, D, H, W, 3)`: `moved(x) = moving(x + u(x))`, in voxels, and `moved`;
    - `inverse` and `moved_back`, the fixed image on the moving one; only if `steps > 0`;
    - `velocity`: what is integrated, on the padded grid at `integration_stride`, in its voxels.

    Args:
        channels: Of each image, or of the fixed and the moving one: intensities or features.
        encoder: Channels of each level.
        decoder: Channels of the convolutions that follow; at least one per level.
        steps: Squarings of the integration; 0 takes the flow for the displacement.
        flow_stride: Voxels of the image for one of the flow, a power of two: 2 saves the decoder's
            most expensive level.
        integration_stride: The same for the velocity; None takes `flow_stride`.
        conventions: Details of VoxelMorph's release "0.3" (PyTorch: upsampling linear between
            corners, a projection before the flow, zeros outside) or "0.2" (TensorFlow: nearest
            upsampling, no projection, the edge goes on outside).
        mind: Whether the UNet reads the MIND-SSC descriptors of each image beside its intensities:
            a small price for seeing across contrasts from the first step on. Images of one channel.
        correlation: Strides of the encoder's grids, such as `(2, 4)`, that are told where the
            images match within two voxels of that grid (`Correlation`), by their MIND descriptors
            with `mind`, by the channels given without: what makes training short.
        slope: Of the leaky ReLU; None takes the release's, 0 or 0.2.
        seed: Seed of the initial weights; None draws one.

    Raises:
        ValueError: If a size is below one, the decoder too short, a stride no power of two, the
            release unknown, a correlation's stride none of the encoder's, or `mind` asked for with
            several channels.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        fixed, moving = np.random.default_rng(0).random((2, 1, 20, 24, 18, 1)).astype("float32")
        model = avx.VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        displacement, moved = model.register(fixed, moving)
        ```
    """

    def __init__(
        self,
        channels: int | Sequence[int] = 1,
        encoder: Sequence[int] = (16,) * 5,
        decoder: Sequence[int] = (16,) * 6,
        steps: int = 5,
        flow_stride: int = 1,
        integration_stride: int | None = None,
        conventions: str = "0.3",
        mind: bool = False,
        correlation: Sequence[int] = (),
        slope: float | None = None,
        seed: int | None = None,
        dtype: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        config: dict[str, Any] = dict(
            channels=[channels] * 2 if isinstance(channels, int) else list(channels),
            encoder=list(encoder),
            decoder=list(decoder),
            steps=steps,
            flow_stride=flow_stride,
            integration_stride=flow_stride if integration_stride is None else integration_stride,
            conventions=conventions,
            mind=mind,
            correlation=list(correlation),
            slope=slope,
            seed=seed,
        )
        _check(config)
        if slope is None:
            config["slope"] = CONVENTIONS[conventions].slope
        graph = Graph(config, keras.dtype_policies.get(dtype or keras.config.dtype_policy()))
        super().__init__(graph.inputs, graph.outputs, name=name, trainable=trainable)
        self.channels, self.encoder, self.decoder = (
            tuple(config[sizes]) for sizes in ("channels", "encoder", "decoder")
        )
        self.steps, self.flow_stride = steps, flow_stride
        self.integration_stride: int = config["integration_stride"]
        self.conventions, self.mind, self.correlation = conventions, mind, tuple(correlation)
        self.slope: float = config["slope"]
        self.seed = seed
        self._arguments = tuple(config)
        self._policy = graph.policy
        self._of_shape = _OfShape()
        #: names of the layers with weights, from the input on
        self.convolutions: tuple[str, ...] = tuple(graph.convolutions)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute all outputs of a pair, `{"fixed": ..., "moving": ...}` or a sequence of both."""
        # Keras would give an image without its last axis one, and take any other for channels.
        pair = inputs if isinstance(inputs, dict) else {"fixed": inputs[0], "moving": inputs[1]}
        if all(hasattr(image, "shape") for image in pair.values()):
            _check_pair(pair, self.channels)
        return super().__call__(inputs, *args, **kwargs)

    def register(
        self, fixed: Any, moving: Any, both_ways: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bring moving images onto fixed ones.

        Args:
            fixed: `(B, D, H, W, C)`.
            moving: The same grid.
            both_ways: Ask the network for both directions, and integrate half the difference of
                the two velocities: the map is then the inverse of the one the other way round, and
                what the network says wrongly in both cancels out.

        Returns:
            Displacement `(B, D, H, W, 3)` in voxels, and moved images `(B, D, H, W, C)`; float32.

        Raises:
            ValueError: If the images have other channels, not one grid, or values that are masked,
                complex or not finite; or both ways are asked of a network that integrates nothing.
        """
        outputs = self.register_both(fixed, moving, both_ways)
        return outputs["displacement"], outputs["moved"]

    def register_both(
        self, fixed: Any, moving: Any, both_ways: bool = False
    ) -> dict[str, np.ndarray]:
        """Bring each image onto the other: all outputs of the model; arguments of `register`."""
        if both_ways and not self.steps:
            raise ValueError("`both_ways` needs an integrated velocity. Received: steps=0")
        pair = {"fixed": _float32("fixed", fixed), "moving": _float32("moving", moving)}
        _check_pair(pair, self.channels)
        model = self._of_shape(self, pair["fixed"].shape[1:4], both_ways)
        outputs = model.predict_on_batch(pair)
        return {name: to_numpy(array) for name, array in outputs.items()}

    @classmethod
    def from_voxelmorph(cls, source: Any, channels: Sequence[int] | None = None) -> "VoxelMorph":
        """Take over the network and the weights of VoxelMorph's own packages.

        Args:
            source: A `VxmPairwise` of `voxelmorph` 0.3, in three dimensions; or the path of an
                `.h5` file of the dense TensorFlow network of `voxelmorph` 0.1 or 0.2 (`VxmDense`).
            channels: Of the fixed and the moving image; a `VxmPairwise` knows only their sum, of
                which None takes half for each.

        Raises:
            UserError: If the file can't be read, or the network has parts that this one lacks.
        """
        if isinstance(source, (str, os.PathLike)):
            from anyvox_keras.voxelmorph.weights import from_tensorflow

            return from_tensorflow(cls, source)
        from anyvox_keras.voxelmorph.weights import from_torch

        return from_torch(cls, source, channels)

    def to_voxelmorph(self) -> Any:
        """Return a `VxmPairwise` of `voxelmorph` 0.3 with the same weights, bit for bit.

        Raises:
            ValueError: If `VxmPairwise` can't hold this network: other conventions than "0.3", a
                stride, or a decoder that is not one longer than the encoder with its last
                size twice.
            ImportError: If `voxelmorph` is not installed.
        """
        from anyvox_keras.voxelmorph.weights import to_torch

        return to_torch(self)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        policy = keras.dtype_policies.serialize(self._policy)
        own = {name: getattr(self, name) for name in self._arguments}
        own = {name: list(x) if isinstance(x, tuple) else x for name, x in own.items()}
        return {**own, "dtype": policy, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "VoxelMorph":
        """Build from `get_config`; the functional default would forget the class."""
        return cls(**config)


class _OfShape:
    """Models of one static grid on shared weights.

    TensorFlow loosens the shapes of a function that it has seen with two; sampling needs them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], keras.Model] = {}

    def __call__(self, model: VoxelMorph, shape: tuple[int, ...], both_ways: bool) -> keras.Model:
        if (shape, both_ways) not in self._known:
            inputs = {
                name: keras.Input((*shape, symbol.shape[-1]), name=name)
                for name, symbol in model.input.items()
            }
            outputs = model(inputs)
            if both_ways:
                fixed, moving = inputs["fixed"], inputs["moving"]
                back = model({"fixed": moving, "moving": fixed})["velocity"]
                velocity = 0.5 * (outputs["velocity"] - back)
                outputs = warp_both(model.get_config(), velocity, fixed, moving)
            self._known[shape, both_ways] = keras.Model(inputs, outputs)
        return self._known[shape, both_ways]


# filters of a convolution: a damaged file may ask for more than there is memory
_WIDEST = 4096


def _check(config: dict[str, Any]) -> None:
    for name in ("channels", "encoder", "decoder"):
        if not config[name] or min(config[name]) < 1:
            raise ValueError(f"`{name}` must be >= 1. Received: {name}={config[name]}")
        if max(config[name]) > _WIDEST:
            raise ValueError(f"`{name}` must be <= {_WIDEST}. Received: {name}={config[name]}")
    if len(config["channels"]) != 2:
        raise ValueError(
            "`channels` must be one number, or the fixed and the moving image's. "
            f"Received: channels={config['channels']}"
        )
    if config["mind"] and config["channels"] != [1, 1]:
        raise ValueError(f"`mind` needs one channel. Received: channels={config['channels']}")
    if len(config["decoder"]) < len(config["encoder"]):
        raise ValueError(
            "`decoder` must be at least as long as `encoder`. "
            f"Received: {len(config['decoder'])} and {len(config['encoder'])} levels"
        )
    grids = [2**level for level in range(len(config["encoder"]))]
    if not set(config["correlation"]) <= set(grids):
        raise ValueError(
            f"`correlation` must hold strides of the encoder, of {grids}. "
            f"Received: correlation={config['correlation']}"
        )
    for name in ("flow_stride", "integration_stride"):
        if config[name] not in [2**level for level in range(len(config["encoder"]) + 1)]:
            raise ValueError(
                f"`{name}` must be 1, 2, 4 ... within the encoder. Received: {name}={config[name]}"
            )
    one_of("conventions", config["conventions"], CONVENTIONS)


def _float32(name: str, images: Any) -> np.ndarray:
    """Refuse what would turn the whole displacement into NaN, or be lost without a word."""
    array = images if isinstance(images, np.ndarray) else to_numpy(images)
    check_finite(name, array)
    return np.asarray(array, "float32")


def _check_pair(pair: dict[str, Any], channels: Sequence[int]) -> None:
    for name, count in zip(("fixed", "moving"), channels, strict=True):
        check_volumes(name, pair[name], count)
    fixed, moving = (tuple(pair[name].shape) for name in ("fixed", "moving"))
    if any(
        None not in sides and len(set(sides)) > 1
        for sides in zip(fixed[:4], moving[:4], strict=True)
    ):
        raise ValueError(
            f"`fixed` and `moving` must be on the same grid. Received: {fixed}, {moving}"
        )
