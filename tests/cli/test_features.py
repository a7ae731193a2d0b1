"""`anyvox features`: its file and its mistakes."""

import nibabel as nib
import numpy as np
import pytest
from own_networks import plain_unet, tiny_vit

from anyvox_keras.cli import main
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import UNet, save_preset
from anyvox_keras.networks.convert import to_torch


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a pretraining run with a small network."""
    folder = tmp_path_factory.mktemp("run")
    UNet(output_channels=5, width=4, levels=1, seed=0).save_to_preset(folder / "backbone")
    return folder


def run(images, out, *more, image="fixed"):
    return main(["features", str(images[image]), str(out), *map(str, more)])


def test_features_are_the_extractors_on_the_images_grid(images, tmp_path, run_folder):
    out = tmp_path / "new" / "out.nii.gz"
    assert run(images, out, "--weights", run_folder) == 0
    saved, image = nib.load(out), nib.load(images["fixed"])
    assert saved.shape == (*image.shape, 5)
    assert saved.get_data_dtype() == np.float32
    np.testing.assert_allclose(saved.affine, image.affine)
    extractor = FeatureExtractor(UNet.from_preset(run_folder / "backbone"))
    np.testing.assert_allclose(saved.get_fdata(), extractor(image.get_fdata()), atol=1e-4)


@pytest.mark.parametrize("kind", ["preset of a ViT", "run", ".keras", ".pth"])
def test_any_network_is_taken_in_any_form(images, tmp_path, kind):
    weights, network = tmp_path / "network", tiny_vit() if "ViT" in kind else plain_unet()
    if kind == "run":
        save_preset(network, weights / "backbone")
    elif kind == ".keras":
        network.save(weights := weights.with_suffix(kind))
    elif kind == ".pth":
        network = UNet(output_channels=3, width=2, levels=1, seed=0)
        to_torch(network, weights := weights.with_suffix(kind))
    else:
        network.save_to_preset(weights)
    out = tmp_path / "out.nii.gz"
    assert run(images, out, "--weights", weights) == 0
    expected = FeatureExtractor(network)(nib.load(images["fixed"]).get_fdata())
    np.testing.assert_allclose(nib.load(out).get_fdata(), expected, atol=1e-4)


def test_the_packaged_network_is_the_default(images, tmp_path):
    out = tmp_path / "out.nii.gz"
    assert run(images, out, "--report", tmp_path / "out.html") == 0
    assert "Features of fixed.nii.gz" in (tmp_path / "out.html").read_text(encoding="utf-8")
    expected = FeatureExtractor.from_preset("anyvox-base")(nib.load(images["fixed"]).get_fdata())
    np.testing.assert_allclose(nib.load(out).get_fdata(), expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=-1), 1, atol=1e-3)


def test_features_are_zero_outside_the_mask(images, tmp_path, run_folder):
    out = tmp_path / "out.nii.gz"
    mask = nib.load(images["mask"]).get_fdata()
    mask[:10] = 0
    nib.save(nib.Nifti1Image(mask, nib.load(images["mask"]).affine), tmp_path / "half.nii.gz")
    more = ("--weights", run_folder / "backbone", "--mask", tmp_path / "half.nii.gz")
    assert run(images, out, *more, image="spoilt") == 0
    features = nib.load(out).get_fdata()
    assert np.isfinite(features).all()
    assert np.abs(features[:10]).max() == 0
    assert np.abs(features[10:]).max() > 0


def refused(capsys, reason):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert reason in lines[0]
    return True


@pytest.mark.parametrize("bad", ["missing", "text", "flat", "series", "constant", "nothing"])
def test_bad_image_is_one_line(images, tmp_path, capsys, run_folder, bad):
    assert run(images, tmp_path / "out.nii.gz", "--weights", run_folder, image=bad) == 2
    assert refused(capsys, str(images[bad]))
    assert not (tmp_path / "out.nii.gz").exists()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--weights", "nonsense"), "unknown preset nonsense"),
        (("--weights", "."), "not a preset"),
        (("--mask", "{small_mask}", "--weights", "{run}"), "(20, 18, 16)"),
        (("--mask", "{empty_mask}", "--weights", "{run}"), "above zero"),
    ],
)
def test_misuse_is_one_line(images, tmp_path, capsys, run_folder, more, reason):
    words = [word.format(**images, run=run_folder) for word in more]
    assert run(images, tmp_path / "out.nii.gz", *words) == 2
    assert refused(capsys, reason)


def test_existing_output_is_kept(images, tmp_path, capsys, run_folder):
    out = tmp_path / "out.nii.gz"
    out.write_text("precious")
    assert run(images, out, "--weights", run_folder) == 2
    assert refused(capsys, "exists already")
    assert out.read_text() == "precious"
    assert run(images, out, "--weights", run_folder, "--overwrite") == 0
    assert nib.load(out).ndim == 4
