"""The module of 3D Slicer without Slicer: its commands, and nodes to files and back."""

import sys
from pathlib import Path

import click
import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.cli.main import anyvox
from anyvox_keras.geometry import Grid
from anyvox_keras.io import save_warp

FILE = Path(__file__).parents[2] / "integrations" / "slicer" / "AnyVox.py"


@pytest.fixture(scope="module")
def module(load_file):
    return load_file(FILE)


class Util:
    """Nodes are nibabel images; Slicer's `slicer.util` writes and reads files of them."""

    def saveNode(self, node, path):  # noqa: N802
        nib.save(node, path)
        return True

    def loadVolume(self, path):  # noqa: N802
        image = nib.load(path)
        return nib.Nifti1Image(image.get_fdata(), image.affine)  # the file goes

    loadLabelVolume = loadSegmentation = loadVolume  # noqa: N815

    def loadTransform(self, path):  # noqa: N802
        return nib.load(path).shape


@pytest.mark.parametrize("affine", ["", "rigid"])
def test_commands_are_those_of_the_command_line(module, affine):
    built = [
        module.register_command("anyvox", "f.nii", "m.nii", "out", affine),
        module.apply_command("anyvox", "i.nii", "w.nii", "r.nii", "o.nii", labels=bool(affine)),
        module.segment_command("anyvox", "i.nii", "run", "out"),
    ]
    for _, *words in built:
        with click.Context(anyvox, obj={"arguments": words}) as context:
            command = anyvox.get_command(context, words.pop(0))
            if isinstance(command, click.Group):
                command = command.get_command(context, words.pop(0))
            assert command.make_context("anyvox", words, parent=context).params["out"]


def test_an_image_is_warped_as_by_numpy(module, tmp_path, rng):
    """A real run of the command, between a stand-in's nodes."""
    grid = Grid((9, 8, 10), np.diag([2.0, 2, 2, 1]))
    node = nib.Nifti1Image(rng.random(grid.shape).astype("float32"), grid.affine)
    shift = np.zeros((*grid.shape, 3))
    shift[..., 0] = 1
    save_warp(tmp_path / "warp.nii.gz", shift, grid)
    command = tmp_path / "anyvox"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m anyvox_keras.cli \"$@\"\n")
    command.chmod(0o755)
    logic = module.AnyVoxLogic(str(command), util=Util(), tell=lambda line: None)
    moved = logic.apply(node, tmp_path / "warp.nii.gz", node).get_fdata()
    np.testing.assert_allclose(moved[:-1], node.get_fdata()[1:], atol=1e-5)


def test_a_registration_gives_nodes_and_the_verdict(module, tmp_path):
    """The command is a stand-in that writes what `register` promises, and says FAIL."""
    command = tmp_path / "anyvox"
    command.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != --out ]; do [ "$1" = --fixed ] && fixed="$2"; shift; done\n'
        'mkdir "$2" && cp "$fixed" "$2/moved.nii.gz" && cp "$fixed" "$2/warp.nii.gz"\n'
        "echo folds 0.000 %, FAIL\nexit 3\n"
    )
    command.chmod(0o755)
    node = nib.Nifti1Image(np.ones((4, 5, 6), "float32"), np.eye(4))
    logic = module.AnyVoxLogic(str(command), util=Util(), tell=lambda line: None)
    moved, transform, said = logic.register(node, node, "rigid")
    assert moved.shape == transform == (4, 5, 6)
    assert said == "folds 0.000 %, FAIL"
    command.write_text("#!/bin/sh\necho anyvox: error: no >&2\nexit 2\n")
    with pytest.raises(RuntimeError, match="anyvox: error: no"):
        logic.register(node, node)
