"""Contrastive pretraining: loss, heads, pretrainer, recipes, callbacks, runs."""

from anyvox_keras.contrastive.alignment import alignment
from anyvox_keras.contrastive.checkpoint import Checkpoint
from anyvox_keras.contrastive.contrastive_pretrainer import ContrastivePretrainer
from anyvox_keras.contrastive.feature_pictures import FeaturePictures
from anyvox_keras.contrastive.multi_positive_contrastive_loss import MultiPositiveContrastiveLoss
from anyvox_keras.contrastive.pretraining_run import PretrainingRun
from anyvox_keras.contrastive.projection_head import ProjectionHead
from anyvox_keras.contrastive.recipes import RECIPES, Recipe, recipe
from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.contrastive.schedules import stepped_decay, warm_cosine
from anyvox_keras.contrastive.stop_on_non_finite import StopOnNonFinite

__all__ = [
    "RECIPES",
    "Checkpoint",
    "ContrastivePretrainer",
    "FeaturePictures",
    "MultiPositiveContrastiveLoss",
    "PretrainingRun",
    "ProjectionHead",
    "Recipe",
    "RunSettings",
    "StopOnNonFinite",
    "alignment",
    "recipe",
    "stepped_decay",
    "warm_cosine",
]
