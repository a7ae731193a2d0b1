"""Every registered class survives its config, and a `.keras` file in a fresh process."""

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import keras
import pytest

import anyvox_keras as avx
from anyvox_keras import (
    contrastive,
    registration as reg,
    segmentation,
    synthesis,
    training,
    voxelmorph,
)
from anyvox_keras.backend import to_numpy
from anyvox_keras.networks import initializers, layers, normalization, vit_layers
from anyvox_keras.saving import CLASSES, register_with_keras

PACKAGE = Path(avx.__file__).parent
NAMES = [name for names in CLASSES.values() for name in names]


def unet():
    return avx.UNet(width=2, levels=1, output_channels=3, seed=1)


def pairs():
    labels = synthesis.LabelEnsemble(16, count=(2, 3))
    return synthesis.SyntheticPairs(labels, synthesis.PairedViews(), name="synthesis")


def voxelmorph_network():
    return avx.VoxelMorph(encoder=(2, 2), decoder=(2, 2, 2), flow_stride=2, seed=1)


#: One object of each class, with arguments that are not its defaults where it has any.
SAMPLES = {
    "AffineAugmentation": lambda: synthesis.AffineAugmentation(degrees=(-5, 5), seed=3),
    "Appearance": lambda: synthesis.Appearance(
        {"std": (1, 2)}, 3, bias={"order": 2}, spike=None, slices={}
    ),
    "AroundOne": lambda: initializers.AroundOne(0.1, seed=[3, 1]),
    "AroundZero": lambda: initializers.AroundZero(0.1, seed=[3, 1]),
    "AveragePool": lambda: layers.AveragePool((2, 1, 2)),
    "BatchNorm": lambda: normalization.BatchNorm(0.8, 1e-3),
    "BendingEnergy": lambda: reg.BendingEnergy(reduction="sum"),
    "BiasField": lambda: synthesis.BiasField((0.0, 0.1), 2, probability=0.5),
    "ComposeTransforms": lambda: reg.ComposeTransforms("zeros"),
    "ContrastivePretrainer": lambda: avx.ContrastivePretrainer(
        unet(), taps=["output_conv", 3], tap_weights=[1, 3], width=4, crop=8, rarity="sqrt"
    ),
    "Correlation": lambda: reg.Correlation(4, 1, 0.2),
    "CropLike": lambda: layers.CropLike(2),
    "CutOut": lambda: synthesis.CutOut((0.2, 0.3)),
    "DeformedPairs": lambda: voxelmorph.DeformedPairs(3, (4, 8), 2.0),
    "Demean": lambda: vit_layers.Demean(),
    "DiceCrossEntropy": lambda: segmentation.DiceCrossEntropy(0.5, class_weights=[1, 2]),
    "DiceLoss": lambda: reg.DiceLoss(1e-3),
    "DiceScore": lambda: segmentation.DiceScore(2, ignore_label=5),
    "EpochCosine": lambda: training.EpochCosine(1e-3, 10, 5),
    "FeatureExtractor": lambda: avx.FeatureExtractor(unet(), (-1.0, 2.0), norm="unit", window=8),
    "FeatureLoss": lambda: avx.FeatureLoss(avx.FeatureExtractor(unet()), "squared"),
    "ForegroundMask": lambda: synthesis.ForegroundMask((4, 5), 3, scales=(4, 8)),
    "GammaContrast": lambda: synthesis.GammaContrast((0.9, 1.1), 0.5),
    "GaussianBlur": lambda: synthesis.GaussianBlur((0.1, 0.2), seed=3),
    "GaussianMixture": lambda: synthesis.GaussianMixture((1, 2), labels=5),
    "GaussianNoise": lambda: synthesis.GaussianNoise((0.1, 0.2), 0.5),
    "Ghosting": lambda: synthesis.Ghosting((2, 3), 0.5),
    "GibbsRinging": lambda: synthesis.GibbsRinging((0.1, 0.2)),
    "GradientPenalty": lambda: reg.GradientPenalty("l1"),
    "InstanceNorm": lambda: normalization.InstanceNorm(1e-2, affine=True),
    "IntegrateVelocity": lambda: reg.IntegrateVelocity(3, "zeros"),
    "InverseConsistencyLoss": lambda: reg.InverseConsistencyLoss(),
    "Inversion": lambda: synthesis.Inversion(0.5),
    "KSpaceSpike": lambda: synthesis.KSpaceSpike((0.9, 1.0)),
    "KaimingNormal": lambda: initializers.KaimingNormal([3, 1]),
    "LabelEnsemble": lambda: synthesis.LabelEnsemble(16, (2, 3), seed=3),
    "LayerRates": lambda: segmentation.LayerRates(1e-3, 0.5),
    "LocalNCCLoss": lambda: reg.LocalNCCLoss(5),
    "LogGamma": lambda: synthesis.LogGamma((-0.1, 0.1)),
    "LowResolution": lambda: synthesis.LowResolution((0.6, 0.7)),
    "MINDChannels": lambda: reg.MINDChannels(),
    "MINDLoss": lambda: reg.MINDLoss(2, 1),
    "MaxPool": lambda: layers.MaxPool(),
    "Motion": lambda: synthesis.Motion(1, (-1, 1)),
    "MultiPositiveContrastiveLoss": lambda: avx.MultiPositiveContrastiveLoss(0.2, "raw"),
    "MutualInformationLoss": lambda: reg.MutualInformationLoss(8, 1.0),
    "PaintedCrops": lambda: segmentation.PaintedCrops(3, scale=5, seed=3),
    "PairedViews": lambda: synthesis.PairedViews(synthesis.Appearance(spike=None), 3),
    "PatchGrid": lambda: vit_layers.PatchGrid((2, 2, 2)),
    "PatchTokens": lambda: vit_layers.PatchTokens(2, seed=[3, 1]),
    "ProjectionHead": lambda: contrastive.ProjectionHead(4, 2, seed=[3, 1]),
    "RandomCrop": lambda: synthesis.RandomCrop(4, 3),
    "ReflectConv3D": lambda: layers.ReflectConv3D(2, 5, True),
    "ReflectPadToMultiple": lambda: layers.ReflectPadToMultiple(3, 5),
    "RescaleDisplacement": lambda: reg.RescaleDisplacement(2, "centers"),
    "RicianNoise": lambda: synthesis.RicianNoise((0.1, 0.2), 0.5),
    "SegmentationAugmentation": lambda: segmentation.SegmentationAugmentation(seed=3),
    "Segmenter": lambda: avx.Segmenter(unet(), 2, "decoder", 3),
    "Sharpen": lambda: synthesis.Sharpen((0.6, 0.7)),
    "SpatialAugmentation": lambda: synthesis.SpatialAugmentation(0.5, degrees=(-5, 5)),
    "SpatialTransformer": lambda: reg.SpatialTransformer("nearest", "edge"),
    "SyntheticPairs": pairs,
    "Texture": lambda: synthesis.Texture(0.1, (4, 8)),
    "ThickSlices": lambda: synthesis.ThickSlices((2, 3)),
    "TrainTimeAugmentation": lambda: synthesis.TrainTimeAugmentation(8, seed=3),
    "UNet": unet,
    "UpSample": lambda: layers.UpSample("trilinear"),
    "ViT": lambda: avx.ViT(1, 2, 8, 6, 1, 1, 1, 2, False, output_norm="none", seed=1),
    "ViTBlock": lambda: vit_layers.ViTBlock(1, (2, 2, 2), False, 0.2, 3, seed=[3, 1]),
    "VoxelMorph": voxelmorph_network,
    "VoxelMorphTrainer": lambda: voxelmorph.VoxelMorphTrainer(
        voxelmorph_network(),
        {"image": avx.FeatureLoss(avx.FeatureExtractor(unet())), "labels": reg.DiceLoss()},
        {"labels": 0.5},
        0.3,
        reg.GradientPenalty("l1"),
        voxelmorph.DeformedPairs(3),
    ),
    "WithSynthesis": lambda: avx.WithSynthesis(unet(), pairs(), y="view2"),
    "ZeroConv3D": lambda: layers.ZeroConv3D(2),
}  # fmt: skip


def as_data(thing):
    """What Keras writes of an object, as JSON leaves it."""
    return json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))


def test_the_registry_knows_every_exported_class():
    marked = {
        name: ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r"^@export\nclass (\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert marked == {name: home for home, names in CLASSES.items() for name in names}
    assert sorted(SAMPLES) == sorted(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_config_round_trip(name):
    thing = SAMPLES[name]()
    assert type(thing).__name__ == name
    loaded = keras.saving.deserialize_keras_object(as_data(thing))
    assert type(loaded) is type(thing)
    assert as_data(loaded) == as_data(thing)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_unknown_arguments_are_refused(name):
    thing = SAMPLES[name]()
    with pytest.raises((TypeError, ValueError), match="widht"):
        type(thing).from_config({**as_data(thing)["config"], "widht": 4})


def as_model(thing):
    """A model that holds an object where Keras saves objects of its kind."""
    if isinstance(thing, keras.Model):
        return thing
    if isinstance(thing, keras.Layer):
        return keras.Sequential([thing])
    if isinstance(thing, keras.initializers.Initializer):
        return keras.Sequential([keras.layers.Dense(2, kernel_initializer=thing)])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    if isinstance(thing, keras.optimizers.schedules.LearningRateSchedule):
        thing = keras.optimizers.Adam(thing)
    if isinstance(thing, keras.optimizers.Optimizer):
        model.compile(thing, "mse")
    elif isinstance(thing, keras.metrics.Metric):
        model.compile("sgd", "mse", metrics=[thing])
    else:
        loss = avx.FeatureLoss(thing) if isinstance(thing, avx.FeatureExtractor) else thing
        model.compile("sgd", loss)
    return model


def summary(model):
    """All that a file should bring back: what Keras writes of a model, and a sum of its weights."""
    weights = b"".join(to_numpy(weight).tobytes() for weight in model.weights)
    return [as_data(model), zlib.crc32(weights)]


#: Prints the summaries of the files in a folder, in a process that has touched no class.
LOADER = """
import json, sys, zlib
from pathlib import Path
import anyvox_keras
import keras
def summary(model):
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    weights = b"".join(keras.ops.convert_to_numpy(w).tobytes() for w in model.weights)
    return [data, zlib.crc32(weights)]
files = sorted(Path(sys.argv[1]).glob("*.keras"))
print(json.dumps({f.stem: summary(keras.models.load_model(f)) for f in files}))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a file of each class, and what each should bring back."""
    folder = tmp_path_factory.mktemp("saved")
    models = {name: as_model(make()) for name, make in SAMPLES.items()}
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
    return folder, {name: summary(model) for name, model in models.items()}


def test_every_class_loads_in_a_fresh_process(files):
    folder, expected = files
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, "-c", LOADER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        assert found[name] == one, name


def test_the_package_may_be_imported_after_keras():
    known = keras.saving.get_custom_objects()
    known.pop("anyvox_keras>UNet")
    try:
        register_with_keras()
        assert known["anyvox_keras>UNet"] is not avx.UNet
        stand_in, known["anyvox_keras>UNet"] = known["anyvox_keras>UNet"], avx.UNet
        assert type(stand_in.from_config(unet().get_config())) is avx.UNet
    finally:
        known["anyvox_keras>UNet"] = avx.UNet


def test_load_model(files, tmp_path):
    folder, expected = files
    assert summary(avx.load_model(folder / "Segmenter.keras")) == expected["Segmenter"]
    with pytest.raises(avx.UserError, match=r"absent\.keras: cannot be loaded"):
        avx.load_model(tmp_path / "absent.keras")
