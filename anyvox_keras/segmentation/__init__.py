"""Few-shot segmentation: model, loss, data, training, prediction, evaluation."""

from anyvox_keras.segmentation.case import Case, count_classes, load_case
from anyvox_keras.segmentation.crop_stream import CropStream
from anyvox_keras.segmentation.dataset import CaseFiles, Dataset, read_dataset
from anyvox_keras.segmentation.dice_cross_entropy import DiceCrossEntropy
from anyvox_keras.segmentation.dice_score import DiceScore
from anyvox_keras.segmentation.evaluate import (
    Score,
    evaluate,
    mean_score,
    pair_files,
    save_scores,
    score_case,
)
from anyvox_keras.segmentation.fine_tuning import LayerRates, unfreeze
from anyvox_keras.segmentation.predictor import Predictor, largest_components
from anyvox_keras.segmentation.segmentation_augmentation import SegmentationAugmentation
from anyvox_keras.segmentation.segmentation_run import SegmentationRun, load_run
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings
from anyvox_keras.segmentation.segmenter import Segmenter
from anyvox_keras.segmentation.validate import validate

__all__ = [
    "Case",
    "CaseFiles",
    "CropStream",
    "Dataset",
    "DiceCrossEntropy",
    "DiceScore",
    "LayerRates",
    "Predictor",
    "Score",
    "SegmentationAugmentation",
    "SegmentationRun",
    "SegmentationSettings",
    "Segmenter",
    "count_classes",
    "evaluate",
    "largest_components",
    "load_case",
    "load_run",
    "mean_score",
    "pair_files",
    "read_dataset",
    "save_scores",
    "score_case",
    "unfreeze",
    "validate",
]
