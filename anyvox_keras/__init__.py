"""3D features that ignore contrast, scanner and organ, learnt from synthetic shapes alone."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy
from anyvox_keras.saving import register_with_keras

if TYPE_CHECKING:
    from anyvox_keras import (
        backend as backend,
        contrastive as contrastive,
        features as features,
        geometry as geometry,
        io as io,
        metrics as metrics,
        networks as networks,
        ops as ops,
        pictures as pictures,
        random as random,
        registration as registration,
        segmentation as segmentation,
        synthesis as synthesis,
        templates as templates,
        training as training,
        voxelmorph as voxelmorph,
    )
    from anyvox_keras.contrastive import (
        ContrastivePretrainer as ContrastivePretrainer,
        MultiPositiveContrastiveLoss as MultiPositiveContrastiveLoss,
    )
    from anyvox_keras.errors import UserError as UserError
    from anyvox_keras.features import FeatureExtractor as FeatureExtractor
    from anyvox_keras.networks import UNet as UNet, ViT as ViT
    from anyvox_keras.registration import FeatureLoss as FeatureLoss, Registration as Registration
    from anyvox_keras.registration.register import register as register
    from anyvox_keras.saving import load_model as load_model
    from anyvox_keras.segmentation import Segmenter as Segmenter
    from anyvox_keras.synthesis import (
        Appearance as Appearance,
        LabelEnsemble as LabelEnsemble,
        PairedViews as PairedViews,
        SyntheticStream as SyntheticStream,
        WithSynthesis as WithSynthesis,
    )
    from anyvox_keras.templates import TemplateBank as TemplateBank
    from anyvox_keras.voxelmorph import VoxelMorph as VoxelMorph

__version__ = "0.1.0"

lazy(__name__)
register_with_keras()
