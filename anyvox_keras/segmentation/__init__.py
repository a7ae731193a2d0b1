"""Few-shot segmentation: model, loss, data, training, prediction, evaluation."""

from anyvox_keras.segmentation.affine_augmentation import AffineAugmentation
from anyvox_keras.segmentation.case import Case, count_classes, load_case
from anyvox_keras.segmentation.crop_stream import CropStream
from anyvox_keras.segmentation.dataset import CaseFiles, Dataset, list_images, read_dataset
from anyvox_keras.segmentation.dice_cross_entropy import DiceCrossEntropy
from anyvox_keras.segmentation.dice_score import DiceScore
from anyvox_keras.segmentation.layer_rates import LayerRates
from anyvox_keras.segmentation.segmentation_augmentation import SegmentationAugmentation
from anyvox_keras.segmentation.segmenter import Segmenter
from anyvox_keras.segmentation.unfreeze import unfreeze
from anyvox_keras.segmentation.working_grid import working_grid

__all__ = [
    "AffineAugmentation",
    "Case",
    "CaseFiles",
    "CropStream",
    "Dataset",
    "DiceCrossEntropy",
    "DiceScore",
    "LayerRates",
    "SegmentationAugmentation",
    "Segmenter",
    "count_classes",
    "list_images",
    "load_case",
    "read_dataset",
    "unfreeze",
    "working_grid",
]
