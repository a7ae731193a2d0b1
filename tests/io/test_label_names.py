"""Names of labels, as other programs write them."""

import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.io import load_label_names

FORMS = {
    "lines.txt": "1 liver\n2: left kidney\n",
    "FreeSurfer.txt": "#No. Label\n1 liver 245 1 2 0\n2   left-kidney  0 0 0 0\n",
    "snap.label": '# IDX R G B A\n 1 255 0 0 1 1 1 "liver"\n 2 0 0 9 1 1 1 "left kidney"\n',
    "dseg.tsv": "index\tname\tabbreviation\n1\tliver\tL\n2\tleft kidney\tK\n",
    "table.csv": "name,label\nliver,1\nleft kidney,2\n",
    "numbers.json": '{"1": "liver", "2": "left kidney"}',
    "dataset.json": '{"name": "x", "labels": {"liver": 1, "left kidney": "2"}}',
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_names_are_read(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name])
    found = load_label_names(tmp_path / name)
    assert {number: text.replace("-", " ") for number, text in found.items()} == {
        1: "liver",
        2: "left kidney",
    }


@pytest.mark.parametrize("text", ["", "{", "no number"])
def test_a_file_without_names_is_refused(tmp_path, text):
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(UserError, match="names of labels"):
        load_label_names(tmp_path / "names.json")
