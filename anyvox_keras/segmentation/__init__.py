"""Few-shot segmentation: model, loss, data, training, prediction, evaluation."""

from anyvox_keras.segmentation.dice_cross_entropy import DiceCrossEntropy
from anyvox_keras.segmentation.dice_score import DiceScore
from anyvox_keras.segmentation.layer_rates import LayerRates
from anyvox_keras.segmentation.segmenter import Segmenter
from anyvox_keras.segmentation.unfreeze import unfreeze

__all__ = ["DiceCrossEntropy", "DiceScore", "LayerRates", "Segmenter", "unfreeze"]
