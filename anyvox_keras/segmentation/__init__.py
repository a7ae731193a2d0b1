"""Few-shot segmentation: model, loss, data, training, prediction, evaluation."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.segmentation.case import (
        Case as Case,
        count_classes as count_classes,
        load_case as load_case,
    )
    from anyvox_keras.segmentation.crop_stream import CropStream as CropStream
    from anyvox_keras.segmentation.dataset import (
        CaseFiles as CaseFiles,
        Dataset as Dataset,
        read_dataset as read_dataset,
    )
    from anyvox_keras.segmentation.dice_cross_entropy import DiceCrossEntropy as DiceCrossEntropy
    from anyvox_keras.segmentation.dice_score import DiceScore as DiceScore
    from anyvox_keras.segmentation.evaluate import (
        Score as Score,
        evaluate as evaluate,
        mean_score as mean_score,
        pair_files as pair_files,
        save_scores as save_scores,
        score_case as score_case,
    )
    from anyvox_keras.segmentation.fine_tuning import LayerRates as LayerRates, unfreeze as unfreeze
    from anyvox_keras.segmentation.predictor import (
        Predictor as Predictor,
        largest_components as largest_components,
    )
    from anyvox_keras.segmentation.segmentation_augmentation import (
        SegmentationAugmentation as SegmentationAugmentation,
    )
    from anyvox_keras.segmentation.segmentation_run import (
        SegmentationRun as SegmentationRun,
        load_run as load_run,
    )
    from anyvox_keras.segmentation.segmentation_settings import (
        SegmentationSettings as SegmentationSettings,
    )
    from anyvox_keras.segmentation.segmenter import Segmenter as Segmenter
    from anyvox_keras.segmentation.validate import validate as validate

lazy(__name__)
