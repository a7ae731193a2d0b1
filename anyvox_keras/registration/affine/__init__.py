"""The affine stage: many starts, mutual information, descent on features."""

from anyvox_keras.registration.affine.affine_descent import affine_descent
from anyvox_keras.registration.affine.affine_pair import mutual_information, without_padding
from anyvox_keras.registration.affine.align import affine_starts, align

__all__ = [
    "affine_descent",
    "affine_starts",
    "align",
    "mutual_information",
    "without_padding",
]
