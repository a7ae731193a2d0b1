"""Pictures of what a network has learnt so far."""

import os
from pathlib import Path

import keras
import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.pictures import feature_picture, save_figure
from anyvox_keras.training.training_state import sync_state


class FeaturePictures(keras.callbacks.Callback):
    """Every k steps, draw the features of one pair of views in the colours of a joint PCA.

    Args:
        pair: `{"view1", "view2": (1, D, H, W, 1)}` arrays, the same at each picture.
        folder: Where `features_<step>.png` go.
        every: Steps between pictures.
        first: Steps done before this `fit`.

    Example:
        ```python
        pair = {name: np.zeros((1, 16, 16, 16, 1)) for name in ("view1", "view2")}
        pictures = FeaturePictures(pair, "pictures", every=500)
        # pretrainer.fit(stream, callbacks=[pictures])
        ```
    """

    def __init__(
        self,
        pair: dict[str, np.ndarray],
        folder: str | os.PathLike[str],
        every: int,
        first: int = 0,
    ) -> None:
        super().__init__()
        self.views = [pair[name][:1] for name in ("view1", "view2")]
        self.folder = Path(folder)
        self.every = every
        self.step = first

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count, and draw when it is time."""
        self.step += 1
        if self.step % self.every == 0:
            self.draw(self.folder / f"features_{self.step:07d}.png")

    def draw(self, path: Path) -> None:
        """Draw the picture now."""
        sync_state(self.model)
        backbone = self.model.backbone
        features = [to_numpy(backbone.predict_on_batch(view))[0] for view in self.views]
        images = [view[0, ..., 0] for view in self.views]
        path.parent.mkdir(parents=True, exist_ok=True)
        figure = feature_picture(images, [f.astype("float32") for f in features])
        save_figure(figure, path, overwrite=True)
