"""The pretrained UNet with a head that names classes."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.errors import UserError, check_count, check_volumes
from anyvox_keras.export import export
from anyvox_keras.networks.any_network import copied, input_channels, output_channels
from anyvox_keras.networks.initializers import KaimingNormal
from anyvox_keras.networks.presets import Presets
from anyvox_keras.segmentation.dice import DiceCrossEntropy, DiceScore
from anyvox_keras.segmentation.fine_tuning import LayerRates, unfreeze
from anyvox_keras.training.stream_trained import StreamTrained
from anyvox_keras.types import Array, Trained

HEAD = "segmentation_head"


@export
class Segmenter(Presets, StreamTrained):
    """A backbone and a 1x1x1 convolution with bias to background and classes (Dey et al., 2025).

    Maps images `(B, D, H, W, 1)`, min-max normalised, to logits `(B, D, H, W, classes + 1)`,
    float32, background first. `compile()` takes the paper's Adam 2e-4 and `DiceCrossEntropy`; the
    Dice of each class is always measured. `fit` takes images and integer label maps
    `(B, D, H, W)`, or a `CropStream`, whose augmentation becomes part of the training graph.

    Args:
        backbone: A `UNet`, or any Keras model of one volume that keeps the grid. It stays as it
            is: a copy of it, `segmenter.backbone`, is trained.
        classes: Number of classes beside the background.
        train: What is trained, the head always: `"all"`, `"decoder"`, `"head"`, or the number of
            the backbone's last layers with weights. Frozen batch norms use their moving statistics.
        seed: Seed of the head's weights.

    Raises:
        ValueError: If `classes` is below 1, or `train` is unknown.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        segmenter = avx.Segmenter(avx.UNet(width=4, levels=2), classes=2)
        segmenter.compile()
        image = np.random.rand(1, 16, 16, 16, 1).astype("float32")
        label_map = (image[..., 0] > 0.5).astype("int32")
        segmenter.fit(image, label_map, verbose=0)
        logits = segmenter.predict_on_batch(image)  # (1, 16, 16, 16, 3)
        ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        classes: int,
        train: Trained = "all",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_count("classes", classes)
        if not isinstance(backbone, keras.Model):
            raise ValueError(f"`backbone` must be a Keras model. Received: {backbone!r}")
        self.backbone, self.classes, self.seed = copied(backbone), int(classes), seed
        self.head = keras.layers.Conv3D(
            self.classes + 1,
            1,
            kernel_initializer=KaimingNormal([seed, 0]),
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=HEAD,
        )
        self.head.build((None, None, None, None, output_channels(self.backbone)))
        # Made here, not in `compile`: a resumed run needs its variables before the first step.
        self.score = DiceScore(self.classes)
        self.built = True
        self.train_only(train)

    def train_only(self, train: Trained) -> None:
        """Choose anew what is trained; compile again for it to take effect."""
        unfreeze(self.backbone, train)
        self.train_part = train

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """Configure training; what is not given is the paper's."""
        loss = loss or DiceCrossEntropy()
        self.score.ignore_label = getattr(loss, "ignore_label", None)
        super().compile(optimizer or LayerRates(2e-4), loss, **kwargs)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute logits of `(B, D, H, W, C)`, or of a stream's batch."""
        # Keras would wrap the backbone's one line in several.
        if hasattr(inputs, "shape"):
            check_volumes("inputs", inputs, input_channels(self.backbone))
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Array, training: bool | None = None) -> Array:
        """Return logits; of a stream's batch also the label map they are compared with."""
        if not isinstance(inputs, dict):
            return self._logits(inputs, training)
        pair = inputs if self._bound is None else self._bound(inputs, training=training)
        return {"label_map": pair["label_map"], "logits": self._logits(pair["image"], training)}

    def _logits(self, image: Array, training: bool | None) -> Array:
        features = self.backbone(image, training=training)
        return ops.cast(self.head(features), "float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compare the logits with the label map, which a stream's batch carries itself."""
        y, logits = _target(y, y_pred)
        return super().compute_loss(x, y, logits, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Update the Dice and the metrics of `compile`."""
        target = _target(y, y_pred)
        self.score.update_state(*target)
        return super().compute_metrics(x, *target, sample_weight)

    @property
    def input_channels(self) -> int:
        """Channels of the images."""
        return int(self.backbone.input_shape[-1])

    def to_torch(self) -> Any:
        """Return a plain PyTorch module: images `(B, C, D, H, W)` to logits, on any backend.

        Raises:
            UserError: If the backbone is no `UNet`, or PyTorch is not installed.
        """
        if not hasattr(self.backbone, "to_torch"):
            raise UserError(
                f"a PyTorch module is made of a Segmenter of a UNet, received one of a "
                f"{type(self.backbone).__name__}"
            )
        from anyvox_keras.networks.torch_unet import with_classes

        return with_classes(self.backbone.to_torch(), *self.head.get_weights())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        backbone = keras.saving.serialize_keras_object(self.backbone)
        own = {"classes": self.classes, "train": self.train_part, "seed": self.seed}
        return {**super().get_config(), "backbone": backbone, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuild the backbone, then the segmenter."""
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"), custom_objects)
        return cls(backbone, **config)


def _target(y: Any, y_pred: Any) -> tuple[Any, Any]:
    return (y_pred["label_map"], y_pred["logits"]) if isinstance(y_pred, dict) else (y, y_pred)
