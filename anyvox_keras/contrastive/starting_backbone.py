"""The network that a pretraining run begins with."""

import importlib
import os
import sys
from typing import Any

import keras

from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.errors import UserError
from anyvox_keras.networks import ARCHITECTURES, VIT, UNet, ViT, load_network
from anyvox_keras.networks.signature import fixed_sides


def starting_backbone(settings: RunSettings, policy: Any) -> keras.Model:
    """Load or build the network that settings name.

    Args:
        settings: Their `weights`, `backbone` or `architecture` with its sizes.
        policy: Dtype policy of what is built here or is of a class of the package; what else is
            loaded or made by a user's function keeps its own.

    Raises:
        UserError: If there is no such network, or it takes other volumes than the run's cubes.
    """
    s = settings
    if s.weights is not None:
        backbone = load_network(s.weights, policy)
    elif s.backbone is not None:
        keras.utils.set_random_seed(s.seed)  # of initializers that have no seed of their own
        backbone = _call(s.backbone)
    else:
        backbone = _built(s, policy)
    cube, wanted = (s.crop or s.side,) * 3, fixed_sides(backbone)
    if wanted and cube != wanted:
        name = "side" if s.crop is None else "crop"
        raise UserError(f"{name}: expected the network's, {wanted}, received {cube[0]}")
    return backbone


def _built(s: RunSettings, policy: Any) -> keras.Model:
    given = dict(width=s.width, levels=s.levels, output_channels=s.output_channels)
    sizes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if s.architecture == VIT:
        return ViT(side=s.crop or s.side, **sizes, seed=s.seed, dtype=policy)
    return UNet(**{**ARCHITECTURES[s.architecture], **sizes}, seed=s.seed, dtype=policy)


def _call(place: str) -> keras.Model:
    """Call `MODULE:FUNCTION`, of an installed module or of one in the working folder."""
    module, _, name = place.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        backbone = getattr(importlib.import_module(module), name)()
    # a user's module raises whatever it likes
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise UserError(f"backbone: {place} cannot be called ({reason})") from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(backbone, keras.Model):
        kind = type(backbone).__name__
        raise UserError(f"backbone: expected {place} to return a Keras model, received {kind}")
    return backbone
