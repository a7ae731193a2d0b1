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

#: Every class under `@export`, by the folder whose import registers it.
CLASSES: dict[str, tuple[str, ...]] = {
    "contrastive": ("ContrastivePretrainer", "MultiPositiveContrastiveLoss", "ProjectionHead"),
    "features": ("FeatureExtractor",),
    "networks": (
        *("AroundOne", "AroundZero", "BatchNorm", "CropLike", "InstanceNorm", "KaimingNormal"),
        *("ReflectConv3D", "ReflectPadToMultiple", "UNet", "UpSample", "ZeroConv3D"),
    ),
    "registration": (
        *("BendingEnergy", "ComposeTransforms", "Correlation", "DiceLoss", "FeatureLoss"),
        *("GradientPenalty", "IntegrateVelocity", "InverseConsistencyLoss", "LocalNCCLoss"),
        *("MINDChannels", "MINDLoss", "MutualInformationLoss", "RescaleDisplacement"),
        "SpatialTransformer",
    ),
    "segmentation": (
        *("DiceCrossEntropy", "DiceScore", "LayerRates", "SegmentationAugmentation", "Segmenter"),
    ),
    "synthesis": (
        *("AffineAugmentation", "Appearance", "BiasField", "CutOut", "ForegroundMask"),
        *("GammaContrast", "GaussianBlur", "GaussianMixture", "GaussianNoise", "Ghosting"),
        *("GibbsRinging", "Inversion", "KSpaceSpike", "LabelEnsemble", "LogGamma"),
        *("LowResolution", "Motion", "PairedViews", "RandomCrop", "RicianNoise", "Sharpen"),
        *("SpatialAugmentation", "SyntheticPairs", "Texture", "ThickSlices"),
        *("TrainTimeAugmentation", "WithSynthesis"),
    ),
    "training": ("EpochCosine",),
    "voxelmorph": ("DeformedPairs", "VoxelMorph", "VoxelMorphTrainer"),
}


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

    from anyvox_keras.errors import UserError

    try:
        return keras.models.load_model(path, compile=compile, **kwargs)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{os.fspath(path)}: cannot be loaded ({reason})") from error


class _StandIn:
    """What Keras's registry holds of a class whose folder has not been imported yet."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder, self.name = folder, name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Import the class, which takes this place in the registry, and let it do the work."""
        import keras

        importlib.import_module(f"{PACKAGE}.{self.folder}")
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
    for folder, names in CLASSES.items():
        for name in names:
            known.setdefault(f"{PACKAGE}>{name}", _StandIn(folder, name))


def register_with_keras() -> None:
    """Make every class loadable: now if Keras is imported already, else as soon as it is."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())
