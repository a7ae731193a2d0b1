"""A bank from the names of its sources."""

from anyvox_keras.templates.template_bank import TemplateBank


def open_banks(sources: str, shapes: int, side: int, seed: int = 0) -> TemplateBank:
    """Join the shapes of several sources, scaled to the side of the volumes.

    Args:
        sources: `geometric` or folders of segmentations, comma-separated.
        shapes: Number of geometric shapes.
        side: Of the volumes.
        seed: Of the geometric shapes.

    Raises:
        UserError: A folder without segmentations.

    Example:
        ```python
        from anyvox_keras.templates import open_banks

        bank = open_banks("geometric", shapes=50, side=16)
        ```
    """

    def of(source: str) -> TemplateBank:
        if source == "geometric":
            return TemplateBank.geometric(shapes, side, seed)
        return TemplateBank.from_segmentations(source, side, resample=True)

    bank: TemplateBank = TemplateBank.joined(of(source) for source in sources.split(","))
    return bank
