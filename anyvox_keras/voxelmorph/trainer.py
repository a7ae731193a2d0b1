"""Training of VoxelMorph on scans, on synthetic pairs, or on both."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import mean_over_devices, replicas
from anyvox_keras.export import export
from anyvox_keras.io import atomic
from anyvox_keras.ops import jacobian_determinant
from anyvox_keras.registration import GradientPenalty, SpatialTransformer
from anyvox_keras.training.stream_trained import StreamTrained
from anyvox_keras.types import Array
from anyvox_keras.voxelmorph.pairs import DeformedPairs
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph

Batch = dict[str, Any]
IMAGE, LABELS = "image", "labels"
PAIR = ("fixed", "moving")
NETWORK = "network.keras"


@export
class VoxelMorphTrainer(StreamTrained):
    """Train a `VoxelMorph` with losses on whatever a displacement can carry.

    Each loss has a name: `image` compares the fixed with the moved image; any other, say `labels`
    or `features`, compares `fixed_labels` with `moving_labels` warped by the displacement. The
    total of a pair is `sum weight * loss + smoothness * penalty(velocity)`. A
    `fixed_mask` `(B, D, H, W)` in the batch restricts losses of voxels to it.

    `fit` takes batches of scans with `fixed`, `moving` and what the losses name (`ScanPairs`); or a
    `SyntheticStream`: then `DeformedPairs` makes `fixed`, `moving` and their labels in the graph,
    and no scan is needed; or both in one batch (`JoinedPairs`): then the synthetic pair is compared
    by `labels` alone, the scans by every loss whose arrays they carry, and the totals add up.
    Afterwards the `VoxelMorph` goes on alone.

    Metrics: each loss by its name; `folds_percent`; with `labels` at hand `dice`, the mean over
    labels above 0 after the warped labels are decided.

    Args:
        model: The network to train.
        losses: Losses by name, such as `{"image": FeatureLoss(extractor), "labels": DiceLoss()}`.
        weights: Their weights; 1 where none is given.
        smoothness: Weight of the penalty.
        penalty: Of the velocity; by default `GradientPenalty()`.
        deform: How synthetic pairs are deformed; by default `DeformedPairs(stream.classes)`.
        dice: Whether batches hold labels to measure; None: where they are a loss.

    Raises:
        ValueError: If there is no loss.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.registration import DiceLoss
        from anyvox_keras.voxelmorph import VoxelMorphTrainer

        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16, steps=2)
        model = avx.VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        trainer = VoxelMorphTrainer(model, {"labels": DiceLoss()})
        trainer.compile("adam")
        trainer.fit(stream, verbose=0)
        ```
    """

    weighs_samples = False

    def __init__(
        self,
        model: VoxelMorph,
        losses: Mapping[str, keras.losses.Loss],
        weights: Mapping[str, float] | None = None,
        smoothness: float = 1.0,
        penalty: keras.losses.Loss | None = None,
        deform: DeformedPairs | None = None,
        dice: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not losses:
            raise ValueError("`losses` must name at least one loss. Received: none")
        self.model = model
        self.objective = _Objective(losses, weights or {}, smoothness, penalty or GradientPenalty())
        self.carry = SpatialTransformer(outside="edge", name="carry")
        self.deform, self.dice = deform, dice
        measured = [*losses, "folds_percent"]
        measured += ["dice"] if (LABELS in losses if dice is None else dice) else []
        self._means = [keras.metrics.Mean(name=name) for name in measured]
        self.built = True

    def bind(self, stream: Any) -> None:
        """Make a stream's layer part of the training graph, and deform what it draws."""
        super().bind(stream)
        if self._bound is not None and self.deform is None:
            self.deform = DeformedPairs(stream.classes)

    def call(self, batch: Batch, training: bool | None = None) -> dict[str, Batch]:
        """Register the pairs of a batch; return what the losses compare, by kind of pair."""
        return {
            kind: self._register(pair, self._names(kind, batch), training)
            for kind, pair in self._pairs(batch, training)
        }

    def _pairs(self, batch: Batch, training: bool | None) -> Iterator[tuple[str, Batch]]:
        if "keys" in batch and self._bound is not None and self.deform is not None:
            drawn = self._bound(batch, training=training)
            yield "synthetic", self.deform({**drawn, "keys": ops.cast(batch["keys"], "int32")})
        if "fixed" in batch:
            yield "scans", batch

    def _names(self, kind: str, batch: Batch) -> list[str]:
        """Losses that a pair is compared by."""
        names = list(self.objective.losses)
        if "fixed" not in batch:
            return names
        if kind == "synthetic":
            return [name for name in names if name == LABELS]
        if "keys" not in batch:
            return names
        return [name for name in names if name == IMAGE or f"fixed_{name}" in batch]

    def _register(self, pair: Batch, names: list[str], training: bool | None) -> Batch:
        outputs = self.model({name: pair[name] for name in PAIR}, training=training)
        compared = {name: outputs[name] for name in ("velocity", "displacement")}
        for name in dict.fromkeys([*names, *([LABELS] if "fixed_labels" in pair else [])]):
            if name == IMAGE:
                compared |= {"fixed_image": pair["fixed"], "moved_image": outputs["moved"]}
                continue
            moved = self.carry([pair[f"moving_{name}"], outputs["displacement"]])
            compared |= {f"fixed_{name}": pair[f"fixed_{name}"], f"moved_{name}": moved}
        return compared | ({"mask": pair["fixed_mask"]} if "fixed_mask" in pair else {})

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compare what `call` returned, targets coming from the batch; update the metrics."""
        self.refuse_sample_weight(sample_weight)
        means = {metric.name: metric for metric in self._means}
        total = 0.0
        for kind, compared in y_pred.items():
            value, parts = self.objective.total(compared, self._names(kind, x))
            total = total + value
            # Keras's losses are this device's parts of the mean over all devices.
            parts = {name: part * replicas() for name, part in parts.items()}
            parts["folds_percent"] = _folds_percent(compared["displacement"])
            if "fixed_labels" in compared:
                parts["dice"] = _dice(compared["fixed_labels"], compared["moved_labels"])
            for name in means.keys() & parts.keys():
                means[name].update_state(ops.stop_gradient(parts[name]))
        return total

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Return the metrics; `compute_loss` has updated them."""
        return self.get_metrics_result()

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train; the order of pairs is kept, so that a run can be repeated."""
        kwargs.setdefault("shuffle", False)
        return super().fit(x, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        objective = self.objective
        parts = {
            "model": self.model,
            "losses": objective.losses,
            "penalty": objective.penalty,
            "deform": self.deform,
        }
        own = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        numbers = {"weights": objective.weights, "smoothness": objective.smoothness}
        return {**super().get_config(), **own, **numbers, "dice": self.dice}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuild the network, the losses and the deformation, then the trainer."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("model", "losses", "penalty", "deform")
        }
        return cls(**{**config, **parts})

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the weights of the `VoxelMorph`, which are all there are."""
        self.model.save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Load what `save_weights` or the `VoxelMorph`'s own wrote."""
        self.model.load_weights(filepath, *args, **kwargs)

    def save_network(self, folder: Path, facts: dict[str, Any]) -> None:
        """Leave the `VoxelMorph` in a run's folder, in Keras's format."""
        with atomic(folder / NETWORK) as temporary:
            self.model.save(temporary)


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

    def total(self, compared: Batch, names: list[str]) -> tuple[Any, dict[str, Any]]:
        """Return the weighted sum and each loss."""
        velocity = compared["velocity"]
        total = self.smoothness * self.penalty(velocity, velocity)
        parts = {}
        for name in names:
            loss = self.losses[name]
            pair = compared[f"fixed_{name}"], compared[f"moved_{name}"]
            mask = compared.get("mask") if getattr(loss, "of_voxels", True) else None
            parts[name] = loss(*pair, sample_weight=mask)
            if mask is not None:
                # A mean over this device's mask, of which others have more or less.
                mass = ops.sum(ops.cast(mask, "float32"))
                parts[name] *= mass / ops.maximum(mean_over_devices(mass), 1e-6)
            total = total + self.weights.get(name, 1.0) * parts[name]
        return total, parts


def _folds_percent(displacement: Array) -> Array:
    folded = ops.cast(jacobian_determinant(displacement) <= 0, "float32")
    return 100.0 * ops.mean(folded)


def _dice(fixed: Array, moved: Array) -> Array:
    """Mean Dice of the labels above 0 that either map holds."""
    decided = ops.one_hot(ops.argmax(moved, axis=-1), moved.shape[-1], dtype="float32")
    space = (1, 2, 3)
    both = 2.0 * ops.sum(fixed * decided, axis=space)[:, 1:]
    each = ops.sum(fixed + decided, axis=space)[:, 1:]
    present = ops.cast(each > 0, "float32")
    return ops.sum(both / ops.maximum(each, 1.0)) / ops.maximum(ops.sum(present), 1.0)
