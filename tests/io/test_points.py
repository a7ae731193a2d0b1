"""Points in every spelling of a table, and 3D Slicer's markups."""

import json

import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.io import load_points, read_landmarks, save_points

TRUTH = np.array([[1.5, -2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    "text",
    [
        "x,y,z\n1.5,-2,3\n4,5,6\n",
        "\ufeffx,y,z\r\n1.5,-2,3\r\n4,5,6\r\n",
        "X,Y,Z\n1.5,-2,3\n\n\n4,5,6\n\n",
        "x;y;z\n1,5;-2;3\n4;5;6\n",
        "label\tZ\tY\tX\na\t3\t-2\t1.5\nb\t6\t5\t4\n",
        'label, x, y, z\n"a, b", 1.5, -2, 3\nc, 4, 5, 6\n',
    ],
)
def test_every_spelling_of_a_table(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(load_points(tmp_path / "a.csv"), TRUTH)
    np.testing.assert_array_equal(load_points(tmp_path / "a.csv", ras=True), TRUTH * [-1, -1, 1])
    landmarks = read_landmarks(tmp_path / "a.csv")
    save_points(tmp_path / "b.csv", TRUTH + 1, like=landmarks)
    again = read_landmarks(tmp_path / "b.csv")
    np.testing.assert_array_equal(again.points, TRUTH + 1)
    assert (again.columns, list(again.rows)) == (landmarks.columns, list(landmarks.rows))


@pytest.mark.parametrize(("system", "signs"), [("LPS", 1), ("0", -1), ("RAS", -1), ("1", 1)])
def test_slicer_says_its_own_system(tmp_path, system, signs):
    (tmp_path / "a.fcsv").write_text(
        f"# Markups fiducial file version = 4.10\n# CoordinateSystem = {system}\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        "n_0,1.5,-2,3,0,0,0,1,1,1,0,AC,first,\nn_1,4,5,6,0,0,0,1,1,1,0,PC,,\n"
    )
    points = [
        {"label": n, "position": p} for n, p in zip(("AC", "PC"), TRUTH.tolist(), strict=True)
    ]
    system = {"0": "RAS", "1": "LPS"}.get(system, system)
    markups = [{"coordinateSystem": system, "controlPoints": points}]
    (tmp_path / "a.mrk.json").write_text(json.dumps({"markups": markups}))
    for name in ("a.fcsv", "a.mrk.json"):
        found = read_landmarks(tmp_path / name, ras=True)  # which only tables heed
        np.testing.assert_array_equal(found.points, TRUTH * [signs, signs, 1])
        assert [row["label"] for row in found.rows] == ["AC", "PC"]
        for out in ("b.fcsv", "b.mrk.json", "b.csv"):
            save_points(tmp_path / out, found.points, True, like=found)
            again = read_landmarks(tmp_path / out)
            np.testing.assert_allclose(again.points, found.points, atol=1e-6)
            assert [row["label"] for row in again.rows] == ["AC", "PC"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", ""),
        ("a.csv", "x,y\n1,2\n"),
        ("a.csv", "x,y,z\n1,2\n"),
        ("a.csv", "x,y,z\n1,2,nan\n"),
        ("a.csv", "x,X,y,z\n1,2,3,4\n"),
        ("a.fcsv", "# CoordinateSystem = scanner\n1,1,2,3\n"),
        ("a.fcsv", "# columns = id,x,y\n1,1,2\n"),
        ("a.mrk.json", "[]"),
        ("a.mrk.json", '{"markups": [{"controlPoints": [{"label": "a"}]}]}'),
        ("a.mrk.json", '{"markups": null}'),
        ("a.mrk.json", "{"),
    ],
)
def test_what_holds_no_points_is_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="expected") as caught:
        load_points(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("points", [np.zeros((3, 2)), np.full((2, 3), np.nan), np.zeros(3)])
def test_only_points_are_written(tmp_path, points):
    with pytest.raises(ValueError, match="`points`"):
        save_points(tmp_path / "a.csv", points)
