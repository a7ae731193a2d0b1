"""Contrastive pretraining: loss, heads, pretrainer, recipes."""

from anyvox_keras.contrastive.alignment import alignment
from anyvox_keras.contrastive.contrastive_pretrainer import ContrastivePretrainer
from anyvox_keras.contrastive.multi_positive_contrastive_loss import MultiPositiveContrastiveLoss
from anyvox_keras.contrastive.projection_head import ProjectionHead
from anyvox_keras.contrastive.recipes import RECIPES, Recipe, recipe
from anyvox_keras.contrastive.schedules import stepped_decay, warm_cosine

__all__ = [
    "RECIPES",
    "ContrastivePretrainer",
    "MultiPositiveContrastiveLoss",
    "ProjectionHead",
    "Recipe",
    "alignment",
    "recipe",
    "stepped_decay",
    "warm_cosine",
]
