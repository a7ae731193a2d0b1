"""Training of VoxelMorph on scans or on synthetic pairs."""

from collections.abc import Mapping
from typing import Any

import keras

from anyvox_keras.contrastive.bound_layer import BoundLayer
from anyvox_keras.registration.losses import GradientPenalty
from anyvox_keras.registration.voxelmorph.deformed_pairs import DeformedPairs
from anyvox_keras.registration.voxelmorph.model import VoxelMorph
from anyvox_keras.registration.voxelmorph.spatial_transformer import SpatialTransformer

Batch = dict[str, Any]
IMAGE = "image"


class VoxelMorphTrainer(keras.Model):
    """Train a `VoxelMorph` with losses on whatever a displacement can carry.

    Each loss has a name: `image` compares the fixed with the moved image; any other, say `labels`
    or `features`, compares `fixed_labels` with `moving_labels` warped by the displacement. The
    total is `sum weight * loss + smoothness * penalty(velocity)`. A
    `fixed_mask` `(B, D, H, W)` in the batch restricts losses of voxels to it.

    `fit` takes batches with `fixed`, `moving` and what the losses name; or a `SyntheticStream`,
    given as `stream` too: then `DeformedPairs` makes `fixed`, `moving` and their labels in the
    graph, and no scan is needed. Afterwards the `VoxelMorph` goes on alone.

    Args:
        model: The network to train.
        losses: Losses by name, such as `{"image": FeatureLoss(extractor), "labels": DiceLoss()}`.
        weights: Their weights; 1 where none is given.
        smoothness: Weight of the penalty.
        penalty: Of the velocity; by default `GradientPenalty()`.
        stream: The `SyntheticStream` of `fit`, or none.
        deform: How its pairs are deformed; by default `DeformedPairs(stream.classes)`.

    Raises:
        ValueError: If there is no loss.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.registration import DiceLoss, VoxelMorphTrainer

        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16, steps=2)
        model = avx.VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        trainer = VoxelMorphTrainer(model, {"labels": DiceLoss()}, stream=stream)
        trainer.compile("adam")
        trainer.fit(stream, verbose=0)
        ```
    """

    def __init__(
        self,
        model: VoxelMorph,
        losses: Mapping[str, keras.losses.Loss],
        weights: Mapping[str, float] | None = None,
        smoothness: float = 1.0,
        penalty: keras.losses.Loss | None = None,
        stream: Any = None,
        deform: DeformedPairs | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not losses:
            raise ValueError("`losses` must name at least one loss. Received: none")
        self.model = model
        self.objective = _Objective(losses, weights or {}, smoothness, penalty or GradientPenalty())
        self.carry = SpatialTransformer(outside="edge", name="carry")
        self.synthesis = None
        if stream is not None:
            self.synthesis = BoundLayer(stream.layer)
            self.deform = deform or DeformedPairs(stream.classes)
        self.built = True

    def call(self, batch: Batch, training: bool | None = None) -> Batch:
        """Register the pair, and carry along what the losses compare."""
        if self.synthesis is not None:
            batch = self.deform({**self.synthesis(batch), "keys": batch["keys"]})
        pair = {name: batch[name] for name in ("fixed", "moving")}
        outputs = self.model(pair, training=training)
        compared = {"velocity": outputs["velocity"]}
        for name in self.objective.losses:
            if name == IMAGE:
                compared |= {"fixed_image": batch["fixed"], "moved_image": outputs["moved"]}
                continue
            moved = self.carry([batch[f"moving_{name}"], outputs["displacement"]])
            compared |= {f"fixed_{name}": batch[f"fixed_{name}"], f"moved_{name}": moved}
        return compared | ({"mask": batch["fixed_mask"]} if "fixed_mask" in batch else {})

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compare what `call` returned; targets come from the batch."""
        return self.objective.total(y_pred)

    def fit(self, x: Any = None, **kwargs: Any) -> Any:
        """Train; a stream's order is kept, so that a run can be repeated."""
        kwargs.setdefault("shuffle", False)
        return super().fit(x, **kwargs)


class _Objective:
    """The losses, out of sight of Keras's attribute tracking."""

    def __init__(
        self,
        losses: Mapping[str, keras.losses.Loss],
        weights: Mapping[str, float],
        smoothness: float,
        penalty: keras.losses.Loss,
    ) -> None:
        self.losses, self.weights = dict(losses), dict(weights)
        self.smoothness, self.penalty = smoothness, penalty

    def total(self, compared: Batch) -> Any:
        velocity = compared["velocity"]
        total = self.smoothness * self.penalty(velocity, velocity)
        for name, loss in self.losses.items():
            pair = compared[f"fixed_{name}"], compared[f"moved_{name}"]
            mask = compared.get("mask") if getattr(loss, "of_voxels", True) else None
            value = loss(*pair, sample_weight=mask)
            total = total + self.weights.get(name, 1.0) * value
        return total
