"""Pictures: what they compute, how they are oriented, that they can be drawn."""

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid
from anyvox_keras.pictures import (
    checkerboard,
    curves_picture,
    feature_pca,
    feature_picture,
    planes,
    registration_report,
    save_figure,
    views_picture,
    window,
)
from anyvox_keras.pictures.drawing import Cut

SHAPE = (6, 8, 10)
RAS = np.diag([1.0, 1.5, 2.5, 1.0])


def marked():
    """A volume in R, A, S order: one bright voxel far right, front and high."""
    array = np.zeros(SHAPE, "float32")
    array[5, 7, 9] = 1
    return array


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "ASL"])
def test_planes_do_not_depend_on_the_order_of_axes(rng, code):
    array = rng.normal(size=SHAPE).astype("float32")
    at = (4, 2, 7)
    place = np.zeros(SHAPE)
    place[at] = 1
    image = nib.Nifti1Image(np.stack([array, place], -1), RAS)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(RAS), nib.orientations.axcodes2ornt(code)
    )
    turned = image.as_reoriented(turn)
    values = turned.get_fdata()
    there = tuple(int(i[0]) for i in np.nonzero(values[..., 1]))
    plain = Cut.of(Grid(SHAPE, RAS), at)
    other = Cut.of(Grid(values.shape[:3], turned.affine), there)
    for axis in range(3):
        expected, received = plain.plane(array, axis), other.plane(values[..., 0], axis)
        np.testing.assert_allclose(received, expected, rtol=1e-6)
        assert plain.size(axis) == other.size(axis)


def test_right_is_on_the_left_and_front_is_up():
    figure = planes(marked(), Grid(SHAPE, RAS), at=(5, 7, 9))
    for axes in figure.axes:
        left, right = axes.get_xlim()
        bottom, top = axes.get_ylim()
        assert left > right  # so the largest R, or A, is at the left edge
        assert top > bottom
        image = axes.images[0]
        assert image.origin == "lower"
        assert image.get_array()[-1, -1] == 1  # far R (A) and far A (S)


def test_planes_have_the_proportions_of_the_body():
    figure = planes(marked(), Grid(SHAPE, RAS))
    for axes, (width, height) in zip(figure.axes, [(6, 12), (6, 25), (12, 25)], strict=True):
        left, right, bottom, top = axes.images[0].get_extent()
        assert abs(right - left) == pytest.approx(width)
        assert abs(top - bottom) == pytest.approx(height)


def test_vectors_turn_with_the_axes():
    affine = np.array([[0, 0, 2.0, 0], [-3, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    cut = Cut.of(Grid(SHAPE, affine))
    field = np.zeros((*SHAPE, 3))
    field[..., :] = 1, 10, 100
    expected = affine[:3, :3] @ [1, 10, 100]
    np.testing.assert_allclose(cut.vectors(field)[0, 0, 0], expected)


def test_checkerboard_shows_both_images():
    board = checkerboard(np.zeros((8, 8, 8)), np.ones((8, 8, 8)), tiles=4)
    assert board.mean() == 0.5
    np.testing.assert_array_equal(board[0, 0, :4], [0, 0, 1, 1])
    with pytest.raises(ValueError, match="shape"):
        checkerboard(np.zeros((8, 8, 8)), np.zeros((8, 8, 7)))


def test_window_ignores_background_and_outliers(rng):
    image = np.zeros((20, 20, 20))
    image[5:15, 5:15, 5:15] = rng.uniform(100, 200, (10, 10, 10))
    image[6, 6, 6] = 1e6
    shown = window(image)
    assert shown[0, 0, 0] == 0
    assert np.median(shown[5:15, 5:15, 5:15]) > 0.5
    assert window(np.full((3, 3), 7.0)).max() == 0


def test_pca_gives_equal_features_equal_colours(rng):
    features = rng.normal(size=(6, 6, 6, 8)) * np.arange(1, 9)
    first, second = feature_pca([features, features[::-1]])
    np.testing.assert_allclose(first[::-1], second, atol=1e-6)
    assert first.min() >= 0
    assert first.max() <= 1


def test_pca_equals_the_singular_vectors(rng):
    features = rng.normal(size=(5, 5, 5, 6)) * [9, 5, 3, 1, 0.5, 0.1]
    rows = features.reshape(-1, 6)
    _, _, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    scores = (rows - rows.mean(0)) @ axes[:3].T
    colours = feature_pca([features])[0].reshape(-1, 3)
    for channel in range(3):
        inside = (colours[:, channel] > 0) & (colours[:, channel] < 1)
        correlation = np.corrcoef(colours[inside, channel], scores[inside, channel])[0, 1]
        assert abs(correlation) > 0.9999


def test_pca_leaves_the_outside_black(rng):
    mask = np.zeros((6, 6, 6), bool)
    mask[2:4] = True
    colours = feature_pca([rng.normal(size=(6, 6, 6, 4))], [mask])[0]
    assert colours[~mask].max() == 0
    assert colours[mask].max() > 0
    with pytest.raises(ValueError, match="number of channels"):
        feature_pca([np.zeros((2, 2, 2, 2))])


def colours_in(path):
    from matplotlib.image import imread

    return len(np.unique(imread(path)[..., :3].reshape(-1, 3), axis=0))


def test_report_is_drawn_with_folds_and_labels(tmp_path, rng):
    fixed = rng.normal(size=(12, 14, 16)).astype("float32")
    labels = np.zeros(fixed.shape, "int32")
    labels[3:8, 4:9, 5:10] = 2
    field = rng.normal(size=(*fixed.shape, 3)).astype("float32")
    figure = registration_report(
        fixed, fixed[::-1], fixed, field, segmentations=(labels, labels[::-1], labels)
    )
    assert len(figure.axes) == 7 * 3 + 2
    save_figure(figure, tmp_path / "report.png", dpi=50)
    assert colours_in(tmp_path / "report.png") > 100
    with pytest.raises(UserError, match="exists already"):
        save_figure(figure, tmp_path / "report.png", dpi=50)


def test_report_of_thin_and_still_images_is_drawn(tmp_path):
    fixed = np.zeros((2, 9, 9), "float32")
    fixed[0, 3] = 1
    grid = Grid(fixed.shape, np.diag([5.0, 1, 1, 1]))
    figure = registration_report(fixed, fixed, fixed, np.zeros((2, 9, 9, 3)), grid)
    save_figure(figure, tmp_path / "report.png", dpi=50)


def test_views_and_features_are_drawn(tmp_path, rng):
    views = rng.uniform(size=(3, 8, 8, 8, 1))
    labels = rng.integers(0, 5, (3, 8, 8, 8))
    save_figure(views_picture(labels, views, views), tmp_path / "views.png", dpi=50)
    features = rng.normal(size=(8, 8, 8, 5))
    figure = feature_picture([views[0, ..., 0]] * 2, [features] * 2, titles=["a", "b"])
    save_figure(figure, tmp_path / "features.png", dpi=50)
    assert len(figure.axes) == 4 * 3
    assert min(colours_in(tmp_path / name) for name in ("views.png", "features.png")) > 100


def test_curves_are_the_log():
    rows = [
        {"step": str(n), "pairs": "9", "learning_rate": "1e-3", "loss": f"{2 / n}", "dice": "0.5",
         "dice_1": "nan" if n == 1 else "0.25", "val_loss": "1.5" if n == 2 else ""}
        for n in (1, 2, 4)
    ]  # fmt: skip
    loss, dice = curves_picture(rows).axes
    assert [place.get_title() for place in (loss, dice)] == ["loss", "dice"]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in (*loss.lines, *dice.lines)}
    assert drawn == {
        "loss": [[1, 2], [2, 1], [4, 0.5]],
        "loss, validation": [[2, 1.5]],
        "dice": [[1, 0.5], [2, 0.5], [4, 0.5]],
        "dice_1": [[2, 0.25], [4, 0.25]],
    }
    assert not curves_picture([]).axes[0].lines
