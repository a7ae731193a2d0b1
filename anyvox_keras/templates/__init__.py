"""Where shapes come from: geometry, segmentations on disk, and the packed bank."""

from anyvox_keras.templates.geometric_shapes import draw_geometric_shape
from anyvox_keras.templates.packed_mask import pack_mask, unpack_mask
from anyvox_keras.templates.template_bank import TemplateBank, open_banks

__all__ = [
    "TemplateBank",
    "draw_geometric_shape",
    "open_banks",
    "pack_mask",
    "unpack_mask",
]
