"""Settings of runs: types, bounds, files of this version and of 0.1."""

import dataclasses
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest

from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.errors import UserError
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings
from anyvox_keras.training.settings import Settings, fields_of, setting
from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings

KINDS = (RunSettings, SegmentationSettings, VoxelMorphSettings)
SAVED = Path(__file__).parents[1] / "saved" / "0.1"


@dataclasses.dataclass(frozen=True)
class Sizes(Settings):
    """One field of each kind, and a base's field with another default."""

    steps: int = 7
    width: int | None = setting(None, "Channels.", least=1, none=0)
    share: float = setting(0.5, "Share.", least=0, below=1)
    name: str | None = setting(None, "Name.", choices=("a", "b"))
    scales: tuple[float, ...] = setting((1.0,), "Scales in voxels.", above=0)
    span: tuple[int, int] = setting((0, 4), "Span.")
    taps: tuple[str, ...] | None = setting(None, "Taps.")
    quick: bool = setting(False, "Quick.")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"share": 0}, {"share": 0.0}),
        ({"width": 0}, {"width": None}),
        ({"name": ""}, {"name": None}),
        ({"taps": ""}, {"taps": None}),
        ({"taps": []}, {"taps": None}),
        ({"taps": "one, two"}, {"taps": ("one", "two")}),
        ({"taps": ["a,b"]}, {"taps": ("a,b",)}),
        ({"scales": "1,2.5"}, {"scales": (1.0, 2.5)}),
        ({"scales": [1, 2.5]}, {"scales": (1.0, 2.5)}),
        ({"scales": 3}, {"scales": (3.0,)}),
        ({"span": "1,2"}, {"span": (1, 2)}),
        ({"width": np.int64(3), "share": np.float32(0.25)}, {"width": 3, "share": 0.25}),
    ],
)
def test_values_are_brought_to_their_types(given, expected):
    settings = Sizes(**given)
    for name, value in expected.items():
        found = getattr(settings, name)
        assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", 1.5), ("steps", True), ("steps", "3"),
        ("width", -1), ("share", 1), ("share", math.nan), ("share", "0.5"), ("name", "c"),
        ("scales", "1,nan"), ("scales", "1,inf"), ("scales", "0"), ("scales", "a"),
        ("span", "1"), ("span", (1, 2, 3)), ("span", (1.5, 2)), ("quick", 1), ("taps", 3),
        ("precision", "half"), ("minutes", 0),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_that_names_it(name, value):
    with pytest.raises(UserError, match=f"^{name}: expected .*received") as caught:
        Sizes(**{name: value})
    assert "\n" not in str(caught.value)


def test_settings_that_do_not_fit_together_are_refused():
    with pytest.raises(UserError, match=r"^validate_every: expected a multiple of log_every"):
        Sizes(log_every=50, validate_every=75)
    with pytest.raises(UserError, match=r"^minutes: expected none beside steps, received 5"):
        Sizes(minutes=5)


def test_a_default_may_change_below_and_the_meaning_stays():
    field = fields_of(Sizes)["steps"]
    assert (field.default, field.rule.least) == (7, 1)
    assert field.rule.help == fields_of(Settings)["steps"].rule.help


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_says_every_setting_and_reads_as_the_same(kind, tmp_path):
    changed = {"patience": 3, "seed": 5}
    settings = kind(**changed)
    (tmp_path / "config.toml").write_text(settings.to_toml())
    assert kind.from_toml(tmp_path / "config.toml") == settings
    assert all(f"{name} " in settings.to_toml() for name in fields_of(kind))
    assert tomllib.loads(settings.to_toml()).items() >= changed.items()


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_told_in_whole_sentences(kind):
    for name, field in fields_of(kind).items():
        assert field.rule.help[0].isupper(), name
        assert field.rule.help.endswith("."), name
        assert field.default is not None or "By default" in field.rule.help or name == "data"


def test_runs_of_version_0_1_are_read():
    run = RunSettings.from_toml(SAVED / "pretrain" / "config.toml")
    assert (run.crop, run.weights, run.taps, run.ema, run.patience) == (None,) * 5
    assert (run.templates, run.width, run.samples) == (("geometric",), 2, 16)
    run = SegmentationSettings.from_toml(SAVED / "segment" / "config.toml")
    assert (run.cases, run.spacing, run.ignore_label) == (None,) * 3
    assert (run.scaling, run.augmentation, run.schedule) == ("minmax", "paper", "cosine")
    assert run.crop == (run.side,) * 3
    assert run.class_weights == (1.0, 1.0, 2.0)
    run = VoxelMorphSettings.from_toml(SAVED / "voxelmorph" / "config.toml")
    assert (run.data, run.loss, run.spacing) == (None,) * 3
    assert (run.encoder, run.decoder, run.deform_std) == ((2,), (2, 2), (0.0, 4.0))
    assert run.losses == ("dice",)


def test_a_file_with_a_mistake_is_named(tmp_path):
    (tmp_path / "run.toml").write_text("share = 2\n")
    with pytest.raises(UserError, match=r"run.toml: share: expected at least 0 and below 1"):
        Sizes.from_toml(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_text("sharp = 2\n")
    with pytest.raises(UserError, match=r"run.toml: unknown key sharp"):
        Sizes.from_toml(tmp_path / "run.toml")
