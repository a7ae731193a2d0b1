"""Label maps of whole scans."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import ndimage, special

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.features import sliding_window_slabs
from anyvox_keras.geometry import Grid, Volume, min_max, resample_to
from anyvox_keras.segmentation.dataset import pad_to, sides_of
from anyvox_keras.segmentation.prediction import Prediction
from anyvox_keras.segmentation.scan import Scan, read_scan


class Predictor:
    """Segment scans of any size, orientation and spacing by overlapping windows.

    A scan is brought to the working grid and to [0, 1]. Class probabilities of windows,
    averaged over networks and flips, are blended with Gaussian weights, slab after slab, so that
    memory holds as many planes as a window is deep; the likeliest class of each voxel is then
    looked up, by nearest, on the scan's own grid.

    Args:
        segmenters: A `Segmenter`, or several that are averaged; anything with `classes` and
            `predict_on_batch` will do.
        side: Sides of the windows, one number or one per axis; a smaller scan is padded by its
            minimum and cropped back.
        spacing: Mm of the working grid along R, A, S; None keeps each scan's own.
        overlap: Share of a window that its neighbour covers too.
        sigma: Std of the blending weights, as a share of the side.
        flips: Whether to average over the eight flips of each window.
        largest: Whether to keep the largest connected component of each class only.
        window_batch: Windows computed at once.
        scaled: What brings intensities to [0, 1].
        numbers: Numbers of classes 1, 2 ... in the label maps of scans; None for these themselves.

    Raises:
        ValueError: If there is no network, or networks have other numbers of classes.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.segmentation import Predictor

        segmenter = avx.Segmenter(avx.UNet(width=4, levels=2), classes=2)
        labels = Predictor(segmenter, side=16)(np.random.rand(20, 14, 16))
        labels.array.shape  # (20, 14, 16), on the grid of what was given
        ```
    """

    def __init__(
        self,
        segmenters: Any,
        side: int | Sequence[int] = 128,
        spacing: Sequence[float] | None = None,
        overlap: float = 0.7,
        sigma: float = 0.25,
        flips: bool = False,
        largest: bool = False,
        window_batch: int = 1,
        scaled: Callable[[np.ndarray], np.ndarray] = min_max,
        numbers: Sequence[int] | None = None,
    ) -> None:
        models = list(segmenters) if isinstance(segmenters, Sequence) else [segmenters]
        if len({model.classes for model in models}) != 1:
            counts = [model.classes for model in models]
            raise ValueError(f"`segmenters` must agree on classes. Received: classes={counts}")
        self.segmenters = models
        self.window, self.spacing, self.scaled = sides_of(side), spacing, scaled
        self.overlap, self.sigma, self.window_batch = overlap, sigma, window_batch
        self.flips, self.largest = flips, largest
        self.numbers = numbers

    def __call__(self, image: Any) -> Prediction:
        """Return the label map of an image, on its grid and with its header.

        Args:
            image: Path, nibabel image, `Volume`, or array `(D, H, W)`; of several channels a 4D
                image, `(D, H, W, C)`, or a list of its channels, None for one that is missing.

        Raises:
            UserError: If the image can't be used.
        """
        scan = self._read(image)
        volume = scan.volume
        grid = volume.grid.to_ras(self.spacing)
        labels, expected = self._likeliest(scan.on(grid, self.scaled))
        numbers = np.arange(len(expected)) if self.numbers is None else [0, *self.numbers]
        numbers = np.asarray(numbers, "int32")
        confidence = {int(numbers[c]): float(expected[c]) for c in np.unique(labels[labels > 0])}
        return self._back(numbers[labels], grid, volume, confidence)

    def probabilities(self, image: Any) -> np.ndarray:
        """Return `(D, H, W, classes + 1)` float32 on the image's grid, by linear interpolation."""
        scan = self._read(image)
        volume = scan.volume
        grid = volume.grid.to_ras(self.spacing)
        whole = np.concatenate(list(self.slabs(scan.on(grid, self.scaled))))
        classes = [
            # Beyond the working grid lies background, class 0.
            resample_to(Volume(p, grid.affine), volume.grid, outside=float(label == 0)).array
            for label, p in enumerate(np.moveaxis(whole, -1, 0))
        ]
        return np.stack(classes, axis=-1)

    def _read(self, image: Any) -> Scan:
        """Read a scan, and refuse another number of channels than the networks'."""
        scan = read_scan(image)
        expected = getattr(self.segmenters[0], "input_channels", len(scan.channels))
        if len(scan.channels) != expected:
            raise UserError(
                f"{scan.volume.name}: expected {expected} channels, received {len(scan.channels)}"
            )
        return scan

    def label_map(self, image: np.ndarray) -> np.ndarray:
        """Return the likeliest classes of a normalised `(D, H, W[, C])` on the working grid."""
        return self._likeliest(image)[0]

    def _likeliest(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the likeliest classes, and the Dice that the probabilities expect of each."""
        parts: list[np.ndarray] = []
        both: Any = 0.0
        sizes: Any = 0.0
        for slab in self.slabs(image):
            found, classes = slab.argmax(-1).astype("int32"), slab.shape[-1]
            sure = np.take_along_axis(slab, found[..., None], -1)
            both += np.bincount(found.ravel(), sure.ravel(), classes)
            sizes += np.bincount(found.ravel(), minlength=classes) + slab.sum((0, 1, 2))
            parts.append(found)
        labels = np.concatenate(parts)
        expected = 2 * both / np.maximum(sizes, 1e-9)
        return largest_components(labels) if self.largest else labels, expected

    def slabs(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the class probabilities of a normalised `(D, H, W[, C])`, along its first axis."""
        padded, inside = pad_to(image, self.window)
        padded = padded if padded.ndim == 4 else padded[..., None]
        first, *rest = inside
        for place, slab in sliding_window_slabs(
            padded, self._windows, self.window, self.overlap, self.sigma,
            self.window_batch,
        ):  # fmt: skip
            start, stop = (max(first.start - place.start, 0), max(first.stop - place.start, 0))
            yield slab[start:stop, *rest]

    def _windows(self, batch: np.ndarray) -> np.ndarray:
        """Average the softmax over networks and flips."""
        axes = [a for n in range(4) for a in itertools.combinations((1, 2, 3), n)]
        ways = [
            (model, flipped)
            for model in self.segmenters
            for flipped in (axes if self.flips else [()])
        ]
        total = np.zeros((), "float32")
        for model, flipped in ways:
            logits = model.predict_on_batch(np.ascontiguousarray(np.flip(batch, flipped)))
            # Under TensorFlow's strategy each device has computed all of them.
            logits = to_numpy(logits)[: len(batch)]
            total = total + np.flip(special.softmax(logits, axis=-1), flipped)
        return np.asarray(total / len(ways))

    def _back(
        self, labels: np.ndarray, grid: Grid, volume: Volume, confidence: dict[int, float]
    ) -> Prediction:
        array = resample_to(Volume(labels, grid.affine), volume.grid).array
        return Prediction(
            array, volume.affine, volume.header, None, volume.name, volume.array,
            confidence=confidence,
        )  # fmt: skip


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Keep of each class its largest part whose voxels touch by faces.

    Example:
        ```python
        >>> largest_components(np.array([[[1, 0, 1, 1]]]))
        array([[[0, 0, 1, 1]]])
        ```
    """
    kept = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        parts, count = ndimage.label(labels == label)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        kept[parts == 1 + int(sizes.argmax())] = label
    return kept
