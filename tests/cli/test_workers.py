"""Jobs in Dask's workers: nothing lost, nothing done otherwise; shards together are the whole."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import click
import keras
import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.cli import main
from anyvox_keras.cli._workers import Outcome, each, worker_options
from anyvox_keras.errors import UserError
from anyvox_keras.shards import part_of

distributed = pytest.importorskip("distributed")


@dataclass(frozen=True)
class Job:
    """A task that is killed, fails or is mistaken, as its number says."""

    folder: Path

    def __call__(self, number: int) -> tuple[int, str | None]:
        first = self.folder / f"{number} was here"
        new = not first.exists()
        first.touch()
        if number == 3 and new:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 5 and new:
            raise OSError("the disk was away")
        if number == 7:
            raise RuntimeError("always")
        if number == 8:
            raise UserError("not an image")
        return number**2, os.environ.get("OMP_NUM_THREADS")


def outcomes(job: Job, items: list[int], *words: str) -> list[Outcome]:
    """What `each` yields in a command with these words."""
    found: list[Outcome] = []

    @click.command()
    @worker_options
    def command() -> None:
        found.extend(each(job, items, "numbers"))

    command.main(list(words), standalone_mode=False, obj={"arguments": list(words)})
    return found


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend takes part")
def test_nothing_is_lost(tmp_path):
    """One worker is killed, one task fails once, one always, one is a user's mistake."""
    distributed_by_value(Job)
    found = outcomes(Job(tmp_path), list(range(40)), "--workers", "2")
    assert sorted(outcome.item for outcome in found) == list(range(40))
    failed = {outcome.item: outcome.error for outcome in found if outcome.error is not None}
    assert {number: str(error) for number, error in failed.items()} == {
        7: "always",
        8: "not an image",
    }
    good = [outcome for outcome in found if outcome.error is None]
    assert all(outcome.result[0] == outcome.item**2 for outcome in good)
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {outcome.result[1] for outcome in good} == {threads}


def distributed_by_value(of: type) -> None:
    """Send a class of this file to workers, which cannot import it."""
    import importlib
    import sys

    import cloudpickle

    module = sys.modules.get(of.__module__) or importlib.import_module(of.__module__)
    cloudpickle.register_pickle_by_value(module)


def test_both_options_are_a_mistake(tmp_path):
    with pytest.raises(click.UsageError, match="received both"):
        outcomes(Job(tmp_path), [1], "--workers", "2", "--scheduler", "tcp://127.0.0.1:1")


def test_in_this_process_a_failure_stops_no_other(tmp_path):
    found = outcomes(Job(tmp_path), [7, 8, 9])
    assert [type(outcome.error) for outcome in found] == [RuntimeError, UserError, type(None)]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 50])
def test_shards_are_the_whole_once(parts):
    items = list(range(23))
    shards = [part_of(items, (index, parts)) for index in range(parts)]
    assert [item for shard in shards for item in shard] == items
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="others compile for half a minute")
def test_workers_register_to_the_same_bit(images, tmp_path):
    """Two workers of one thread each, against this process with one thread."""
    import torch

    table = tmp_path / "pairs.csv"
    rows = [f"{name},{images['fixed']},{images['moving']}" for name in ("a", "b")]
    table.write_text("\n".join(["name,fixed,moving", *rows, f"c,{images['fixed']},gone.nii"]))
    command = ["register", "--batch", str(table), "--iterations", "2"]
    workers = len(os.sched_getaffinity(0))  # one thread each
    threads_told = os.environ.get("OMP_NUM_THREADS")
    assert main([*command, "--out", str(tmp_path / "many"), "--workers", str(workers)]) == 1
    assert os.environ.get("OMP_NUM_THREADS") == threads_told  # what is run next has all
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for index in range(2):
            code = main([*command, "--out", str(tmp_path / "one"), "--shard", f"{index}/2"])
            assert code in ((0, 3), (1,))[index]
    finally:
        torch.set_num_threads(threads)
    for pair in ("a", "b"):
        for name in ("moved.nii.gz", "warp.nii.gz", "inverse_warp.nii.gz"):
            one, many = (nib.load(tmp_path / n / pair / name).get_fdata() for n in ("one", "many"))
            np.testing.assert_array_equal(one, many)
        noted = json.loads((tmp_path / "many" / pair / "metrics.json").read_text())
        assert "--workers" in noted["provenance"]["command"]
    for name in ("one", "many"):
        lines = (tmp_path / name / "metrics.csv").read_text().splitlines()
        assert sorted(line.split(",")[0] for line in lines[1:]) == ["a", "b", "c"]
