"""Contrastive pretraining: loss, heads, pretrainer, recipes, callbacks, runs."""

from anyvox_keras.contrastive.alignment import alignment
from anyvox_keras.contrastive.contrastive_pretrainer import ContrastivePretrainer
from anyvox_keras.contrastive.feature_pictures import FeaturePictures
from anyvox_keras.contrastive.multi_positive_contrastive_loss import MultiPositiveContrastiveLoss
from anyvox_keras.contrastive.pretraining_run import PretrainingRun
from anyvox_keras.contrastive.projection_head import ProjectionHead
from anyvox_keras.contrastive.recipes import RECIPES, Recipe, recipe
from anyvox_keras.contrastive.run_settings import RunSettings

__all__ = [
    "ContrastivePretrainer",
    "FeaturePictures",
    "MultiPositiveContrastiveLoss",
    "PretrainingRun",
    "ProjectionHead",
    "RECIPES",
    "Recipe",
    "RunSettings",
    "alignment",
    "recipe",
]
