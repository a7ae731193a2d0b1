"""Contrastive pretraining as `compile` and `fit`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from anyvox_keras.contrastive.multi_positive_contrastive_loss import MultiPositiveContrastiveLoss
from anyvox_keras.contrastive.projection_head import ProjectionHead
from anyvox_keras.contrastive.recipes import recipe as find_recipe
from anyvox_keras.contrastive.taps import default_taps, with_taps
from anyvox_keras.contrastive.voxel_sampling import alignment, draw_voxels
from anyvox_keras.export import export
from anyvox_keras.random import fold_in, keys_for
from anyvox_keras.synthesis.augmentation import RandomCrop, percentile_rescale
from anyvox_keras.training.stream_trained import StreamTrained
from anyvox_keras.types import Array, RecipeName, Weighting

Batch = dict[str, Any]
VIEWS = ("view1", "view2")
PAIR = ("label_map", *VIEWS)


@export
class ContrastivePretrainer(StreamTrained):
    """Pretrain a backbone so that a voxel's features name its label, whatever the contrast.

    Both views of a pair go through the backbone as one batch. At each tap up to `samples` voxels
    are drawn without replacement, the same in both views; a projection head maps their features to
    rows, and `MultiPositiveContrastiveLoss` compares rows of equal label. Tap losses are averaged,
    pairs never cross (Dey et al., 2025, section 3). Defaults are the released script's numbers.

    `fit` takes a stream whose `layer` makes pairs inside the graph, or batches that are pairs
    already: `{"label_map": (B, D, H, W) integers, "view1", "view2": (B, D, H, W, 1)}`, with
    `"keys"` (B, 2) to fix the draws of voxels. Metrics: `loss`, one `loss_<tap>` per tap, and
    `alignment`, the mean cosine of output features of the same label across views minus that of
    different labels.

    Args:
        backbone: A `UNet`, or any Keras model of volumes `(B, D, H, W, 1)`: functional, sequential
            or subclassed. It is trained; its layers and settings stay as they are. A subclassed
            model is called once before, or is built here on 32 voxels per axis.
        taps: Names of its layers, of nested models too, whose outputs are volumes of any stride;
            of a `UNet` also flat indices. None takes a `UNet`'s `contrastive_taps`, and of other
            models `"output"`.
        samples: Most voxels per tap and view.
        balanced: Whether labels take turns among the drawn voxels, so that small regions count as
            much as large ones; else voxels are drawn uniformly, as in the paper.
        tap_weights: Weight of each tap's loss in their mean; None weighs them alike.
        width: Width of the projection heads.
        temperature: Of the loss.
        rarity: Anchor weighting of the loss: None, `"raw"`, `"sqrt"`.
        balance: Denominator balancing of the loss: None, `"raw"`, `"sqrt"`.
        recipe: `"released"` or `"paper"`: the optimizer of `compile()`, and the augmentation.
        crop: Side of the cube cut out of each view in training, every view's at a place of its own;
            None keeps whole views. In whole views of one label map a voxel's distance to the border
            helps to name its label, and small networks learn it; between two cubes it says nothing.
            In inference both cubes lie at one place.
        cubes: Pairs of cubes cut from each synthesised pair in training, all trained on in one
            step: the synthesis and its augmentation are paid once. In inference one is cut.
        augmentation: A layer called on `(pair, keys, training)` between synthesis and backbone;
            `"recipe"` makes the recipe's (`TrainTimeAugmentation` or none), None leaves it out:
            views are then only scaled as there, by `percentile_rescale`, as the released code does.
        voxel_weight: Share of a second loss at every tap, in which the only positive of a voxel is
            itself in the other view (between 0, the paper's, and 1): features then tell places
            of one label apart, as registration needs. Use it with `crop`, or the border will do.
        seed: Seed of the heads' weights and of voxel draws without keys.

    Example:
        ```python
        import anyvox_keras as avx

        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16, steps=1)
        pretrainer = avx.ContrastivePretrainer(avx.UNet(width=4, levels=2, seed=0))
        pretrainer.compile()
        pretrainer.fit(stream, verbose=0)
        pretrainer.backbone.save_to_preset("my-features")
        ```
    """

    weighs_samples = False

    def __init__(
        self,
        backbone: keras.Model,
        taps: Sequence[int | str] | None = None,
        samples: int = 512,
        balanced: bool = False,
        tap_weights: Sequence[float] | None = None,
        width: int = 256,
        temperature: float = 0.33,
        rarity: Weighting | None = None,
        balance: Weighting | None = None,
        recipe: RecipeName = "released",
        crop: int | None = None,
        cubes: int = 1,
        augmentation: Any = "recipe",
        voxel_weight: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(backbone, keras.Model):
            raise ValueError(f"`backbone` must be a Keras model. Received: {backbone!r}")
        if samples < 2:
            raise ValueError(f"`samples` must be >= 2. Received: samples={samples}")
        if not 0 <= voxel_weight <= 1:
            raise ValueError(f"`voxel_weight` must be in [0, 1]. Received: {voxel_weight}")
        if cubes < 1 or (cubes > 1 and not crop):
            raise ValueError(f"`cubes` must be >= 1, and 1 without `crop`. Received: cubes={cubes}")
        self.backbone = backbone
        chosen = list(taps or default_taps(backbone))
        self.taps = [str(tap) for tap in chosen]
        self.samples = samples
        self.balanced = balanced
        self.tap_weights = _weights(tap_weights, self.taps)
        self.width = width
        self.seed = seed
        self.crop, self.cubes = crop, cubes
        self.voxel_weight = voxel_weight
        self._cut = RandomCrop(crop, seed=seed) if crop else None
        self.recipe = find_recipe(recipe)
        self.augmentation = self.recipe.augmentation() if augmentation == "recipe" else augmentation
        self.criterion = MultiPositiveContrastiveLoss(temperature, rarity, balance)
        self._given = dict(taps=taps and list(taps), recipe=recipe)
        self._tapped, channels = with_taps(backbone, chosen)
        self.heads = [self._head(n, tap, channels[tap]) for n, tap in enumerate(self.taps)]
        self._make_metrics()
        self._draws = self.add_weight(
            (), dtype="int32", initializer="zeros", trainable=False, name="draws"
        )
        self.built = True

    def _head(self, index: int, tap: str, channels: int) -> ProjectionHead:
        head = ProjectionHead(
            self.width, seed=[self.seed, index], dtype=self.dtype_policy, name=f"head_{tap}"
        )
        head.build((None, channels))
        return head

    def _make_metrics(self) -> None:
        self._tap_losses = [keras.metrics.Mean(name=f"loss_{tap}") for tap in self.taps]
        self._alignment = keras.metrics.Mean(name="alignment")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss, each tap's loss and the alignment."""
        return [*super().metrics, *self._tap_losses, self._alignment]

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Configure training; without an optimizer the recipe's own is made."""
        kwargs.setdefault("loss", None)
        super().compile(optimizer=optimizer or self.recipe.optimizer(), **kwargs)

    def call(self, inputs: Batch, training: bool | None = None) -> dict[str, Any]:
        """Return what is compared: `rows:<tap>`, `labels:<tap>`, `voxels:<tap>`, `(B, 2k, ...)`."""
        pair, keys = self._pair(inputs, training)
        each = [
            keys,
            *(fold_in(keys, f"cube {n}") for n in range(1, self.cubes if training else 1)),
        ]
        (view1, map1, corner1), (view2, map2, corner2) = (
            [ops.concatenate(parts) for parts in zip(*cubes, strict=True)]
            for cubes in ([self._cube(pair, view, one, training) for one in each] for view in VIEWS)
        )
        keys = ops.concatenate(each)
        views, label_maps = ops.concatenate([view1, view2]), ops.concatenate([map1, map2])
        features = self._tapped(views, training=training)
        draw = partial(
            draw_voxels, label_maps=label_maps, shift=corner1 - corner2, keys=keys,
            count=self.samples, balanced=self.balanced,
        )  # fmt: skip
        outputs: dict[str, Any] = {}
        for tap, head in zip(self.taps, self.heads, strict=True):
            sample = draw(features[tap], stream=tap)
            outputs[f"rows:{tap}"] = _by_pair(_project(head, sample.rows, training))
            outputs[f"labels:{tap}"] = _by_pair(sample.labels)
            outputs[f"voxels:{tap}"] = _by_pair(sample.voxels)
        sample = draw(features["output"], stream="output")
        outputs["features"], outputs["labels"] = _by_pair(sample.rows), _by_pair(sample.labels)
        return outputs

    def _cube(self, pair: Batch, view: str, keys: Array, training: bool | None) -> tuple[Any, ...]:
        """Return what the backbone sees of one view, its labels, and where it was cut, (B, 3)."""
        image, label_map = pair[view], pair["label_map"]
        if self._cut is None:
            return image, label_map, ops.zeros((ops.shape(image)[0], 3), dtype="int32")
        # In inference one key's place serves both views: they are read at the same voxels.
        keys = fold_in(keys, f"crop of {view}" if training else "crop")
        place = self._cut.sample(keys, tuple(image.shape[1:4]))
        cube = self._cut.apply({"image": image, "label_map": label_map}, place)
        return cube["image"], cube["label_map"], place["corner"]

    def _pair(self, inputs: Batch, training: bool | None) -> tuple[Batch, Any]:
        if "label_map" in inputs:
            pair = {name: inputs[name] for name in PAIR}
        elif self._bound is not None:
            pair = self._bound(inputs, training=training)
        else:
            raise ValueError(
                f"A batch must hold {', '.join(PAIR)}, or a stream must be bound by `fit`. "
                f"Received: {', '.join(sorted(inputs))}"
            )
        keys = ops.cast(inputs["keys"], "int32") if "keys" in inputs else self._own_keys(inputs)
        if self.augmentation is None:
            views = {view: ops.cast(pair[view], "float32") for view in VIEWS}
            return pair | {name: percentile_rescale(view) for name, view in views.items()}, keys
        # Keys of its own: no draw repeats one of the synthesis.
        own = fold_in(keys, "augmentation")
        return self.augmentation(pair, own, training=training), keys

    def _own_keys(self, inputs: Batch) -> Array:
        count = ops.shape(inputs["label_map"])[0]
        start = ops.broadcast_to(keys_for(self.seed, [0], "voxels"), (count, 2))
        keys = fold_in(start, ops.convert_to_tensor(self._draws) + ops.arange(count, dtype="int32"))
        self._draws.assign_add(count)
        return keys

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Average the taps' losses by their weights and update the metrics."""
        self.refuse_sample_weight(sample_weight)
        losses = []
        for tap, metric in zip(self.taps, self._tap_losses, strict=True):
            loss = self._tap_loss(y_pred, tap)
            metric.update_state(ops.stop_gradient(loss))
            losses.append(loss)
        rows = ops.split(ops.stop_gradient(y_pred["features"]), 2, axis=1)
        labels = ops.split(y_pred["labels"], 2, axis=1)
        self._alignment.update_state(alignment(*rows, *labels))
        mean: Any = sum(w * loss for w, loss in zip(self.tap_weights, losses, strict=True))
        return self.share_of(mean)

    def _tap_loss(self, y_pred: Any, tap: str) -> Array:
        rows, share = y_pred[f"rows:{tap}"], self.voxel_weight
        if not share:
            return ops.mean(self.criterion.call(y_pred[f"labels:{tap}"], rows))
        labellings = ops.stack([y_pred[f"{name}:{tap}"] for name in ("labels", "voxels")])
        regions, voxels = ops.unstack(self.criterion.of_labellings(labellings, rows), 2)
        return (1 - share) * ops.mean(regions) + share * ops.mean(voxels)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Return the metrics; `compute_loss` has updated them."""
        return self.get_metrics_result()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        parts = {"backbone": self.backbone, "augmentation": self.augmentation}
        own = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        criterion = self.criterion.get_config()
        numbers = {name: criterion[name] for name in ("temperature", "rarity", "balance")}
        names = ("samples", "balanced", "tap_weights", "width", "crop", "cubes")
        sizes = {name: getattr(self, name) for name in (*names, "voxel_weight", "seed")}
        return {**super().get_config(), **own, **numbers, **sizes, **self._given}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuild the backbone, then the pretrainer."""
        parts = {
            name: keras.saving.deserialize_keras_object(config.pop(name), custom_objects)
            for name in ("backbone", "augmentation")
        }
        return cls(**parts, **config)


def _weights(given: Sequence[float] | None, taps: list[str]) -> list[float]:
    """Weights that sum to one."""
    weights = [1.0] * len(taps) if given is None else [float(weight) for weight in given]
    if len(weights) != len(taps) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(
            f"`tap_weights` must be {len(taps)} weights >= 0, not all 0. Received: {given}"
        )
    return [weight / sum(weights) for weight in weights]


def _project(head: keras.layers.Layer, rows: Array, training: bool | None) -> Array:
    """Send the rows of all samples through a head as one batch."""
    views, count, channels = ops.shape(rows)
    flat = head(ops.reshape(rows, (-1, channels)), training=training)
    return ops.reshape(flat, (views, count, flat.shape[-1]))


def _by_pair(rows: Array) -> Array:
    """Turn `(2B, k, ...)`, all first views before all second, into `(B, 2k, ...)`."""
    first, second = ops.split(rows, 2, axis=0)
    return ops.concatenate([first, second], axis=1)
