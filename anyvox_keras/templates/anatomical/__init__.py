"""Shapes as anatomy has them, drawn without data."""

from anyvox_keras.templates.anatomical.family import draw_anatomical_shapes

__all__ = ["draw_anatomical_shapes"]
