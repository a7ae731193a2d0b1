"""What all tests share: the import order, the seeds, the data and the oracles."""

import contextlib
import importlib.util
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# torch's idle threads would spin, which on a busy machine slows a step fifty times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The tests compile hundreds of small programs and run each once or twice.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# Under JAX each model is a program of its own, though many are equal: a run compiles those once,
# and so do the processes that its tests start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="anyvox-programs-")  # gone when Python ends
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# Loaded after TensorFlow, torch can crash the process: their OpenMP runtimes collide.
with contextlib.suppress(ImportError):
    import torch  # noqa: F401

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def _absent(path: Path) -> NoReturn:
    """Skip a test whose data is absent; in CI that is a failure."""
    message = f"{path} is absent: set ANYVOX_DATA to the folder with `data` and `oracle`"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with `data/` (real scans) and `oracle/`: $ANYVOX_DATA, or ../shared."""
    folder = Path(os.environ.get("ANYVOX_DATA", ROOT.parent / "shared")).resolve()
    if not (folder / "data").is_dir():
        _absent(folder / "data")
    return folder


@pytest.fixture(scope="session")
def oracle(data: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """`oracle("supcon_loss")` gives the arrays of that file by name."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = data / "oracle" / f"{name.removesuffix('.npz')}.npz"
        if not path.is_file():
            _absent(path)
        with np.load(path) as arrays:
            return dict(arrays)

    return read


@pytest.fixture(scope="session")
def load_file() -> Callable[[Path], ModuleType]:
    """`load_file(path)`: the module of a file that lies in no package."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers for the inputs of a test, the same on every run."""
    return np.random.default_rng(0)


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """`full_disk(size)`: no file may grow beyond these bytes, as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with _no_program_kept():
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@contextlib.contextmanager
def _no_program_kept() -> Iterator[None]:
    """Of those that JAX compiles: on a full disk it would keep half of one for later tests."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float("inf"))
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End a full disk with its test: pytest's own report may go to a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        return (yield)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Keras's own initialisers start from one seed in every test."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _freed():
    """Graphs and compiled functions of one file do not outlive it."""
    yield
    keras.backend.clear_session()
