"""Contrastive pretraining: loss, heads, pretrainer, recipes, callbacks, runs."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.contrastive.contrastive_pretrainer import (
        ContrastivePretrainer as ContrastivePretrainer,
    )
    from anyvox_keras.contrastive.multi_positive_contrastive_loss import (
        MultiPositiveContrastiveLoss as MultiPositiveContrastiveLoss,
    )
    from anyvox_keras.contrastive.pretraining_run import (
        FeaturePictures as FeaturePictures,
        PretrainingRun as PretrainingRun,
    )
    from anyvox_keras.contrastive.projection_head import ProjectionHead as ProjectionHead
    from anyvox_keras.contrastive.recipes import (
        RECIPES as RECIPES,
        Recipe as Recipe,
        recipe as recipe,
    )
    from anyvox_keras.contrastive.run_settings import RunSettings as RunSettings
    from anyvox_keras.contrastive.voxel_sampling import alignment as alignment

lazy(__name__)
