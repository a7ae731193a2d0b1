"""Loading of saved models: Keras knows every registered class of the package by its name.

Keras finds a custom class in its registry only, and the registry learns of a class when its module
is imported. The package imports nothing until it is used, so each class has a stand-in there that
imports the real one when a saved model asks for it.
"""

import importlib
import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

PACKAGE = "anyvox_keras"

#: Every class under `@export`, by the module that registers it.
CLASSES: dict[str, tuple[str, ...]] = {
    "contrastive.contrastive_pretrainer": ("ContrastivePretrainer",),
    "contrastive.multi_positive_contrastive_loss": ("MultiPositiveContrastiveLoss",),
    "contrastive.projection_head": ("ProjectionHead",),
    "features.feature_extractor": ("FeatureExtractor",),
    "networks.initializers": (
        "KaimingNormal",
        "AroundOne",
        "AroundZero",
    ),
    "networks.layers": (
        "ReflectConv3D",
        "ZeroConv3D",
        "ReflectPadToMultiple",
        "CropLike",
        "UpSample",
        "MaxPool",
        "AveragePool",
    ),
    "networks.normalization": (
        "BatchNorm",
        "InstanceNorm",
    ),
    "networks.unet": ("UNet",),
    "networks.vit": ("ViT",),
    "networks.vit_layers": (
        "PatchTokens",
        "PatchGrid",
        "ViTBlock",
        "Demean",
    ),
    "registration.layers": (
        "SpatialTransformer",
        "IntegrateVelocity",
        "RescaleDisplacement",
        "ComposeTransforms",
        "Correlation",
        "MINDChannels",
    ),
    "registration.losses.regularization": (
        "BendingEnergy",
        "GradientPenalty",
        "InverseConsistencyLoss",
    ),
    "registration.losses.similarity": (
        "LocalNCCLoss",
        "MINDLoss",
        "MutualInformationLoss",
        "DiceLoss",
        "FeatureLoss",
    ),
    "segmentation.crops": ("SegmentationAugmentation",),
    "segmentation.dice": (
        "DiceCrossEntropy",
        "DiceScore",
    ),
    "segmentation.fine_tuning": ("LayerRates",),
    "segmentation.painted": ("PaintedCrops",),
    "segmentation.segmenter": ("Segmenter",),
    "synthesis.appearance.appearance": (
        "Appearance",
        "PairedViews",
    ),
    "synthesis.appearance.contrast": (
        "GammaContrast",
        "LogGamma",
        "Inversion",
    ),
    "synthesis.appearance.intensity": (
        "GaussianMixture",
        "Texture",
        "BiasField",
    ),
    "synthesis.appearance.k_space": (
        "GibbsRinging",
        "KSpaceSpike",
        "Motion",
        "Ghosting",
    ),
    "synthesis.appearance.noise": (
        "GaussianNoise",
        "RicianNoise",
        "CutOut",
    ),
    "synthesis.appearance.resolution": (
        "GaussianBlur",
        "Sharpen",
        "LowResolution",
        "ThickSlices",
    ),
    "synthesis.augmentation.spatial": (
        "RandomCrop",
        "SpatialAugmentation",
        "AffineAugmentation",
    ),
    "synthesis.augmentation.train_time_augmentation": ("TrainTimeAugmentation",),
    "synthesis.labels.foreground_mask": ("ForegroundMask",),
    "synthesis.labels.label_ensemble": ("LabelEnsemble",),
    "synthesis.stream.synthetic_stream": ("SyntheticPairs",),
    "synthesis.stream.with_synthesis": ("WithSynthesis",),
    "training.schedules": ("EpochCosine",),
    "voxelmorph.pairs": ("DeformedPairs",),
    "voxelmorph.trainer": ("VoxelMorphTrainer",),
    "voxelmorph.voxelmorph": ("VoxelMorph",),
}


def class_of(name: str) -> Any:
    """Import one of the package's registered classes by its name; None if there is none.

    Args:
        name: Such as `"UNet"`.
    """
    for home, names in CLASSES.items():
        if name in names:
            return getattr(importlib.import_module(f"{PACKAGE}.{home}"), name)
    return None


def load_model(
    path: str | os.PathLike[str],
    compile: bool = True,  # noqa: A002
    **kwargs: Any,
) -> Any:
    """Load a `.keras` file that holds classes of this package.

    It is `keras.models.load_model` with all of them known, which that function is too after
    `import anyvox_keras`.

    Args:
        path: The file.
        compile: Whether the model is compiled as it was when saved, its losses included.
        **kwargs: Further arguments of `keras.models.load_model`, such as `custom_objects`.

    Returns:
        The model.

    Raises:
        UserError: If there is no such file, or it holds no model that can be loaded.

    Example:
        ```python
        import anyvox_keras as avx

        avx.UNet(width=4, levels=2).save("unet.keras")
        unet = avx.load_model("unet.keras")
        ```
    """
    import keras

    from anyvox_keras.errors import UserError, one_line

    try:
        return keras.models.load_model(path, compile=compile, **kwargs)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = one_line(error)[:160]
        raise UserError(f"{os.fspath(path)}: cannot be loaded ({reason})") from error


class _StandIn:
    """What Keras's registry holds of a class whose module has not been imported yet."""

    def __init__(self, home: str, name: str) -> None:
        self.home, self.name = home, name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Import the class, which takes this place in the registry, and let it do the work."""
        import keras

        importlib.import_module(f"{PACKAGE}.{self.home}")
        # Not by `get_registered_object`: within a load it finds this stand-in again.
        return keras.saving.get_custom_objects()[f"{PACKAGE}>{self.name}"].from_config(config)


class _AfterKeras(MetaPathFinder):
    """Registers the stand-ins once Keras is imported, which this package does not do by itself."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: Any) -> None:
                load(module)
                _register()

            spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def _register() -> None:
    import keras

    known = keras.saving.get_custom_objects()
    for home, names in CLASSES.items():
        for name in names:
            known.setdefault(f"{PACKAGE}>{name}", _StandIn(home, name))


def register_with_keras() -> None:
    """Make every class loadable: now if Keras is imported already, else as soon as it is."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())
