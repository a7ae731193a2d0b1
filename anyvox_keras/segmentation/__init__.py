"""Few-shot segmentation: model, loss, data, training, prediction, evaluation."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.segmentation.check import Finding as Finding, check_dataset as check_dataset
    from anyvox_keras.segmentation.crops import (
        CropStream as CropStream,
        SegmentationAugmentation as SegmentationAugmentation,
    )
    from anyvox_keras.segmentation.dataset import (
        Case as Case,
        CaseFiles as CaseFiles,
        Dataset as Dataset,
        count_classes as count_classes,
        folds_of as folds_of,
        load_case as load_case,
    )
    from anyvox_keras.segmentation.dice import (
        DiceCrossEntropy as DiceCrossEntropy,
        DiceScore as DiceScore,
    )
    from anyvox_keras.segmentation.evaluate import (
        Score as Score,
        evaluate as evaluate,
        mean_score as mean_score,
        pair_files as pair_files,
        save_scores as save_scores,
        score_case as score_case,
        validate as validate,
    )
    from anyvox_keras.segmentation.fine_tuning import LayerRates as LayerRates, unfreeze as unfreeze
    from anyvox_keras.segmentation.layouts import (
        join_channels as join_channels,
        read_dataset as read_dataset,
    )
    from anyvox_keras.segmentation.painted import PaintedCrops as PaintedCrops
    from anyvox_keras.segmentation.prediction import (
        LabelVolume as LabelVolume,
        Prediction as Prediction,
        label_volumes as label_volumes,
        least_certain as least_certain,
        save_volumes as save_volumes,
    )
    from anyvox_keras.segmentation.predictor import (
        Predictor as Predictor,
        largest_components as largest_components,
    )
    from anyvox_keras.segmentation.run_files import (
        channel_files as channel_files,
        class_numbers as class_numbers,
        load_run as load_run,
        save_run_as_preset as save_run_as_preset,
    )
    from anyvox_keras.segmentation.scan import (
        Scaling as Scaling,
        Scan as Scan,
        read_scan as read_scan,
    )
    from anyvox_keras.segmentation.segmentation_run import SegmentationRun as SegmentationRun
    from anyvox_keras.segmentation.segmentation_settings import (
        SegmentationSettings as SegmentationSettings,
    )
    from anyvox_keras.segmentation.segmenter import Segmenter as Segmenter

lazy(__name__)
