"""The table of the data engine once more, in plain numpy, scipy and MONAI, line after line.

Independent of the package, for distribution tests and as the chain that the benchmark beats. The
foreground noise uses one half-pixel grid and low resolution is half-voxel correct, as the package
has it.
"""

import monai.transforms as mt
import numpy as np
import torch
from scipy import ndimage
from skimage import morphology


def pad_to(mask: np.ndarray, side: int) -> np.ndarray:
    """Pad each axis to at least `side`, centred, the odd voxel in front."""
    pads = [max(0, side - n) for n in mask.shape]
    return np.pad(mask, [((p + 1) // 2, p // 2) for p in pads])


def random_matrix(rng: np.random.Generator) -> np.ndarray:
    """Scale x rotation x shear and a translation, homogeneous."""
    a, b, c = np.radians(rng.uniform(-180, 180, 3))
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = rng.uniform(-0.5, 0.5, 3)
    scale = rng.uniform(0.5, 1.5, 3) * rng.choice([-1, 1], 3)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(scale) @ rx @ ry @ rz @ shear
    matrix[:3, 3] = rng.uniform(-5, 5, 3)
    return matrix


def upsampled(nodes: np.ndarray, side: int) -> np.ndarray:
    """Half-pixel trilinear interpolation of a cube of nodes, `(..., n, n, n)`."""
    cube = torch.from_numpy(nodes)[None]
    return torch.nn.functional.interpolate(cube, (side,) * 3, mode="trilinear")[0].numpy()


def foreground(rng: np.random.Generator, side: int) -> np.ndarray:
    """A ball deformed by multi-scale noise."""
    ratio = side / 128
    radius = rng.integers(round(48 * ratio), round(72 * ratio))
    centre = side // 2 + rng.integers(-round(32 * ratio), round(32 * ratio), 3)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"))
    ball = (((grid - centre[:, None, None, None]) ** 2).sum(0) <= radius**2).astype("uint8")
    moved = grid.astype("float32")
    for scale in (8, 16, 32):
        n = int(np.ceil(side / (scale * ratio)))
        std = rng.uniform(1, 5) * ratio
        moved += upsampled(std * rng.standard_normal((3, n, n, n), dtype="float32"), side)
    mask = ndimage.map_coordinates(ball, np.floor(moved + 0.5), order=0, mode="reflect")
    return ndimage.median_filter(mask, 3, mode="nearest") > 0


def label_map(rng: np.random.Generator, masks: list[np.ndarray], side: int) -> np.ndarray:
    """Draw one label map from binary masks."""
    labels = np.zeros((side,) * 3, "uint8")
    for k in range(rng.integers(20, 40)):
        template = pad_to(masks[rng.integers(len(masks))].astype("uint8"), side)
        moved = ndimage.affine_transform(template, random_matrix(rng), order=0, mode="grid-wrap")
        labels[moved[:side, :side, :side] > 0] = k
    labels = ndimage.median_filter(labels, 3, mode="nearest")
    if rng.random() < 2 / 3:
        mask = foreground(rng, side)
        labels = np.where(mask, labels + 1, 0).astype("uint8")
        if rng.random() < 1 / 2:
            ball = morphology.ball(rng.choice([2, 3, 4]))
            dilated = ndimage.binary_dilation(mask, ball)
            rim = dilated & ~ndimage.binary_erosion(mask, ball, border_value=1)
            labels[rim] = labels.max() + 1
    return labels


def effects() -> mt.Compose:
    """MONAI's part of the pipeline."""
    sigma = {f"sigma_{axis}": (0.0, 0.333) for axis in "xyz"}
    return mt.Compose(
        [
            mt.ScaleIntensity(),
            mt.RandBiasField(prob=0.98, coeff_range=(0.0, 0.075)),
            mt.RandKSpaceSpikeNoise(prob=0.2),
            mt.RandAdjustContrast(prob=0.5, gamma=(0.5, 2.0)),
            mt.RandGaussianSmooth(prob=0.5, **sigma),
            mt.RandGibbsNoise(prob=0.5, alpha=(0.0, 0.333)),
            mt.RandGaussianSharpen(prob=0.25),
            mt.RandSimulateLowResolution(prob=0.333, downsample_mode="nearest-exact"),
            mt.ThresholdIntensity(threshold=0.0, above=True),
            mt.ScaleIntensity(),
        ]
    )


def view(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Draw one image of a label map, `(D, H, W)` in [0, 1]."""
    side = labels.shape[0]
    image = np.zeros(labels.shape, "float32")
    for i, label in enumerate(np.unique(labels)):
        if i == 0 and rng.random() < 0.25:
            continue
        where = labels == label
        noise = rng.standard_normal(int(where.sum()), dtype="float32")
        image[where] = rng.uniform(25, 255) + rng.uniform(5, 20) * noise
    image = np.maximum(image, 0)
    image = (image - image.min()) / (image.max() - image.min())
    texture = np.zeros_like(image)
    for scale in (4, 8, 16, 32):
        n = int(np.ceil(side / scale))
        nodes = rng.uniform(0, 5) * rng.standard_normal((1, n, n, n), dtype="float32")
        texture += upsampled(nodes.astype("float32"), side)[0]
    image = image * (1 + 0.02 * texture)
    chain = effects()
    chain.set_random_state(int(rng.integers(2**31)))
    return np.asarray(chain(torch.from_numpy(image)[None]))[0]
