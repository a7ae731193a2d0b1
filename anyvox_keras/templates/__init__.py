"""Where shapes come from: geometry, segmentations on disk, and the packed bank."""

from anyvox_keras.templates.anatomical import draw_anatomical_shapes
from anyvox_keras.templates.bank_file import pack_mask, unpack_mask
from anyvox_keras.templates.geometric_shapes import draw_geometric_shape
from anyvox_keras.templates.sources import check_sources, open_banks
from anyvox_keras.templates.template_bank import TemplateBank

__all__ = [
    "TemplateBank",
    "check_sources",
    "draw_anatomical_shapes",
    "draw_geometric_shape",
    "open_banks",
    "pack_mask",
    "unpack_mask",
]
