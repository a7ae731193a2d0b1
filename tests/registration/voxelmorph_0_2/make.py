"""Writes the fixtures beside it: tiny dense networks of VoxelMorph 0.2, and what they answer.

Needs an environment of its own, with VoxelMorph's TensorFlow line:

    pip install voxelmorph==0.2 neurite==0.2 tf_keras tensorflow-cpu
    python make.py
"""

# ruff: noqa: E402 (VoxelMorph reads its environment when it is imported)

import inspect
import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ["NEURITE_BACKEND"] = os.environ["VXM_BACKEND"] = "tensorflow"
# VoxelMorph 0.2 calls what Python 3.11 no longer has.
inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]

import h5py
import numpy as np
import voxelmorph as vxm

SHAPE = (8, 8, 16)
NETWORKS = {
    # The published brain models' arguments: full-resolution decoder, integration at half.
    "vxm_dense": dict(nb_unet_features=[[4, 6, 6], [6, 6, 6, 6, 4, 4]], int_steps=7),
    # SynthMorph's: the decoder ends at half resolution.
    "vxm_dense_half": dict(nb_unet_features=[[4, 6], [6, 6, 4]], svf_resolution=2, int_steps=5),
}


def main(folder):
    rng = np.random.default_rng(0)
    for name, arguments in NETWORKS.items():
        model = vxm.networks.VxmDense(SHAPE, bidir=True, **arguments)
        model.set_weights([enlarged(w, rng) for w in model.get_weights()])
        moving, fixed = rng.random((2, 1, *SHAPE, 1), "float32")
        moved, moved_back, velocity = model.predict([moving, fixed], verbose=0)
        displacement = model.register(moving, fixed)
        print(name, "largest displacement", np.abs(displacement).max())
        save(model, folder / f"{name}.h5")
        np.savez_compressed(
            folder / f"{name}.npz",
            **dict(fixed=fixed, moving=moving, displacement=displacement, velocity=velocity),
            **dict(moved=moved, moved_back=moved_back),
        )


def save(model, path):
    """Save as VoxelMorph does, then copy into HDF5's compact layout."""
    model.save(path, include_optimizer=False)
    loose = path.rename(path.with_suffix(".loose"))
    with h5py.File(loose) as source, h5py.File(path, "w", libver="latest") as target:
        copy(source, target)
    loose.unlink()


def copy(source, target):
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name))
        else:
            target[name] = item[()]


def enlarged(weight, rng):
    """A fresh network moves nothing: its flow starts at 1e-5, its biases at zero."""
    if weight.ndim == 1:
        return rng.normal(0, 0.1, weight.shape).astype("float32")
    return weight if weight.shape[-1] != 3 else weight * 1e5


if __name__ == "__main__":
    main(Path(__file__).parent)
