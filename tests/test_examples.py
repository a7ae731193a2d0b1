"""Each script of examples/ runs to its end in a process of its own, with its small defaults."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SECONDS = 600

pytestmark = pytest.mark.examples


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_runs(script, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
    assert ran.stdout.strip(), "an example says what it found"
