"""The affine stage: many starts, mutual information, descent on features."""

from anyvox_keras.registration.affine.affine_descent import affine_descent
from anyvox_keras.registration.affine.affine_pair import without_padding
from anyvox_keras.registration.affine.affine_starts import affine_starts
from anyvox_keras.registration.affine.align import align
from anyvox_keras.registration.affine.mutual_information import mutual_information

__all__ = [
    "affine_descent",
    "affine_starts",
    "align",
    "mutual_information",
    "without_padding",
]
