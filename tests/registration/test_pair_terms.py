"""Labels and landmarks that guide the search: found where the images are noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid
from anyvox_keras.registration import (
    AdamSettings,
    DeformSettings,
    Level,
    Quality,
    Terms,
    fit_points,
    register,
)
from anyvox_keras.registration.affine.affine_pair import AffinePair
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.pair_terms import corresponding_points, terms_of

SHAPE = (20, 22, 18)
GRID = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
QUICK = DeformSettings(
    levels=(Level(2, 2),),
    dilations=(2,),
    adam=AdamSettings(iterations=30, smoothness=2.0, distance="chord"),
)


@pytest.fixture(scope="module")
def blobs():
    """Two images of mere noise, structures of both, the smooth field between, and points."""
    rng = np.random.default_rng(0)
    labels = np.argmax(gaussian_filter(rng.normal(size=(3, *SHAPE)), (0, 2.5, 2.5, 2.5)), axis=0)
    field = [1.5, -2.0, 1.0] + gaussian_filter(rng.normal(size=(*SHAPE, 3)), (5, 5, 5, 0)) * 20
    fixed, moving = rng.normal(size=(2, *SHAPE)).astype("float32")
    moved = map_coordinates(labels, GRID + np.moveaxis(field, -1, 0), order=0, mode="nearest")
    points = rng.uniform(4, 14, size=(40, 3))
    steps = [map_coordinates(field[..., a], points.T, order=1) for a in range(3)]
    return {
        "fixed": fixed,
        "moving": moving,
        "fixed_seg": moved.astype("int32"),
        "moving_seg": labels.astype("int32"),
        "fixed_points": points,
        "moving_points": points + np.stack(steps, -1),
        "field": field,
    }


def given(blobs, *kinds, **more):
    """The images and what belongs to them of some kinds."""
    names = ["fixed", "moving", *(f"{side}_{kind}" for kind in kinds for side in SIDES)]
    return {name: blobs[name] for name in names} | more


SIDES = ("fixed", "moving")


@pytest.mark.parametrize(
    ("kind", "weight"), [("seg", "label_weight"), ("points", "landmark_weight")]
)
def test_only_labels_or_landmarks_tell_the_field(blobs, kind, weight):
    result = register(**given(blobs, kind), settings=QUICK, **{weight: True})
    middle = (slice(4, -4),) * 3
    apart = np.linalg.norm(result.displacement - blobs["field"], axis=-1)[middle].mean()
    assert apart < 0.6 * np.linalg.norm(blobs["field"], axis=-1)[middle].mean()
    assert result.guides == (weight,)
    assert any("no evidence" in reason for reason in result.quality.reasons)


def test_what_the_search_used_is_not_judged():
    measures = {"dice_change": -0.5, "tre_change": 0.9}
    assert Quality.judge(measures).verdict == "FAIL"
    labels = Quality.judge(measures, ("label_weight",))
    assert labels.reasons[0].startswith("the landmarks are")
    assert "labels were used" in labels.reasons[1]
    both = Quality.judge(measures, ("label_weight", "landmark_weight"))
    assert both.verdict == "PASS"
    assert len(both.reasons) == 2
    assert both.measures == measures


def test_landmarks_are_sampled_trilinearly_and_squared(rng):
    field = rng.normal(size=(1, 6, 5, 7, 3)).astype("float32")
    points, others = rng.uniform(0.5, 3.5, size=(2, 4, 3))
    steps = rng.normal(size=(4, 3))
    rows = [x[None, :, None, None].astype("float32") for x in (points, others, steps, -steps)]
    terms = Terms(None, (rows[0], rows[1]), (rows[2], rows[3]), np.float32(0.5))
    for turned, way, where, step in (
        (terms, 1, points, steps), (terms, -1, others, -steps), (terms.swapped(), 1, others, -steps)
    ):  # fmt: skip
        found = np.stack([map_coordinates(field[0, ..., a], where.T, order=1) for a in range(3)], 1)
        expected = 0.5 * np.sum((found - step) ** 2)
        assert float(to_numpy(turned.distance(field, way))) == pytest.approx(expected, rel=1e-4)


def test_structures_that_one_map_lacks_do_not_count(blobs):
    moving = blobs["moving_seg"].copy()
    moving[moving == 2] = 7
    pair = PairInputs.read(**given(blobs, "seg") | {"moving_seg": moving}, label_weight=4)
    assert pair.shared_labels == [1]
    grid = pair.images[0].grid
    fixed, there = (to_numpy(x) for x in terms_of(pair, grid, np.eye(4), (0, 0, 0)).labels)
    assert fixed.shape == there.shape == (1, 10, 11, 9, 1)
    # pooling keeps the volume; the root of 4 is 2
    assert there.mean() / 2 == pytest.approx((moving == 1).mean(), rel=1e-5)


def test_landmarks_lie_on_the_lattice_through_the_affine_map(blobs):
    pair = PairInputs.read(**given(blobs, "points"), landmark_weight=1)
    world = np.eye(4)
    world[:3, 3] = 3, 0, -1
    lattice = Grid((12, 12, 12), np.diag([2.0, 2, 2, 1]))
    terms = terms_of(pair, lattice, world, (0, 0, 0))
    fixed, moving = blobs["fixed_points"], blobs["moving_points"] - [3, 0, -1]
    steps, points = to_numpy(terms.steps[0])[0, :, 0, 0], to_numpy(terms.points[0])[0, :, 0, 0]
    # two voxels of 2 mm are one of the pooled lattice, whose first centre lies at 1 mm
    np.testing.assert_allclose(steps, (moving - fixed) / 4, atol=1e-5)
    np.testing.assert_allclose(points, (fixed - 1) / 4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_weight": 1}, "fixed_seg and moving_seg"),
        ({"label_weight": 1, "fixed_seg": np.ones(SHAPE, int)}, "moving_seg"),
        ({"landmark_weight": 2.0}, "fixed_points and moving_points"),
        ({"landmark_weight": -1}, "from 0 up"),
        ({"label_weight": "much"}, "from 0 up"),
        ({"label_weight": np.inf}, "from 0 up"),
    ],
)
def test_weights_without_sense_are_one_line(blobs, change, message):
    with pytest.raises(UserError, match=message) as caught:
        register(**given(blobs), **change)
    assert "\n" not in str(caught.value)


def test_landmarks_that_guide_nothing_are_a_mistake(blobs):
    beyond = given(blobs, "points") | {"fixed_points": blobs["fixed_points"] + 500}
    with pytest.warns(UserWarning, match="outside"), pytest.raises(UserError, match="within"):
        register(**beyond, landmark_weight=1, settings=QUICK)
    with pytest.raises(UserError, match="affine stage"):
        register(**given(blobs, "seg"), label_weight=1, preset="none")


def test_points_fit_a_known_map(rng):
    points = rng.normal(size=(12, 3)) * 20
    turn = Rotation.random(random_state=0).as_matrix()
    matrix = fit_points(points, points @ turn.T + [1, 2, 3], "rigid")
    np.testing.assert_allclose(matrix[:3, :3], turn, atol=1e-9)
    np.testing.assert_allclose(matrix[:3, 3], [1, 2, 3], atol=1e-9)
    noisy = points @ turn.T + rng.normal(size=(12, 3))
    best, _ = Rotation.align_vectors(noisy - noisy.mean(0), points - points.mean(0))
    np.testing.assert_allclose(
        fit_points(points, noisy, "rigid")[:3, :3], best.as_matrix(), atol=1e-6
    )
    sheared = np.eye(3) + rng.normal(size=(3, 3)) * 0.2
    np.testing.assert_allclose(fit_points(points, points @ sheared.T)[:3, :3], sheared, atol=1e-9)
    # what mirrors is no rotation; too few points tell no stretch, one tells no turn
    assert np.linalg.det(fit_points(points, -points, "rigid")[:3, :3]) == pytest.approx(1)
    few = fit_points(points[:4], points[:4] * 2)
    assert np.linalg.det(few[:3, :3]) == pytest.approx(1)
    for some in (points[:1], points[:2], np.outer(np.arange(5.0), [1, 2, 3])):
        np.testing.assert_allclose(
            fit_points(some, some + 2), fit_points(some, some + 2, "translation")
        )


def test_centres_of_structures_and_landmarks_are_points_of_the_affine_stage(blobs):
    given_ = given(blobs, "seg", "points")
    pair = PairInputs.read(**given_, label_weight=True, landmark_weight=True)
    fixed, moving = corresponding_points(pair)
    assert fixed.shape == moving.shape == (42, 3)
    centre = np.argwhere(blobs["moving_seg"] == 2).mean(0)
    np.testing.assert_allclose(moving[-1], centre)
    assert corresponding_points(PairInputs.read(**given_)) is None


def test_landmarks_start_the_affine_stage_beyond_its_own_reach(rng, monkeypatch):
    monkeypatch.setattr(AffinePair, "descend", lambda self, matrix, *_: (matrix, 0.0))
    image = gaussian_filter(rng.normal(size=(20, 20, 20)), 2.0).astype("float32")
    turned = np.ascontiguousarray(np.flip(image, (0, 1)))  # by 180 degrees about the third axis
    points = rng.uniform(3, 16, size=(5, 3))
    there = np.stack([19 - points[:, 0], 19 - points[:, 1], points[:, 2]], -1)
    options = {"preset": "none", "affine": "rigid", "landmark_weight": 1}
    result = register(image, turned, fixed_points=points, moving_points=there, **options)
    assert result.metrics["tre_mm"]["after"] == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(result.moved, image, atol=1e-4)
    # one point tells no turn: its shift is one of the many starts, here the best
    moved = np.roll(image, 7, 0)
    point = {"fixed_points": points[:1], "moving_points": np.add(points[:1], (7, 0, 0))}
    shift = register(image, moved, **point, **options).affine
    np.testing.assert_allclose(shift[:3, 3], [7, 0, 0], atol=1e-9)
