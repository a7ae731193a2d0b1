"""Many scans, one after the other in this process or side by side in Dask's workers.

Dask, for it runs a task of a killed process again, knows one machine and a cluster alike, and needs
nothing but Python.
"""

import contextlib
import itertools
import logging
import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from anyvox_keras.cli._live_line import complain
from anyvox_keras.cli._quiet import quiet
from anyvox_keras.errors import UserError, one_line
from anyvox_keras.extras import load_extra
from anyvox_keras.progress import tell
from anyvox_keras.shards import environment_kept

#: what is done with an item; in a worker one object does all items, so that it may keep a network
Job = Callable[[Any], Any]
#: how often a task that failed is tried again
RETRIES = 1
#: tasks that wait for each thread of a cluster, and the least of them
_AHEAD, _LEAST_AHEAD = 4, 16
#: what frameworks and libraries read to learn how many threads they may use
_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS", "NPROC",
)  # fmt: skip
_NUMBER, _SCHEDULER = f"{__name__}.number", f"{__name__}.scheduler"


def _noted(name: str) -> Callable[[click.Context, Any, Any], None]:
    def note(context: click.Context, _: Any, value: Any) -> None:
        context.meta[name] = value
        if context.meta.get(_NUMBER) and context.meta.get(_SCHEDULER):
            raise click.UsageError("expected --workers or --scheduler, received both")

    return note


WORKERS = click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    expose_value=False,
    callback=_noted(_NUMBER),
    help="Processes side by side, each with its share of cores and memory (Dask).",
)
SCHEDULER = click.option(
    "--scheduler",
    metavar="ADDRESS",
    expose_value=False,
    callback=_noted(_SCHEDULER),
    help="Of a Dask cluster that sees the same disk, such as tcp://head:8786.",
)


def worker_options(command: Any) -> Any:
    """Add `--workers` and `--scheduler`, which `each` reads."""
    return WORKERS(SCHEDULER(command))


@dataclass(frozen=True)
class Outcome:
    """What came of one item.

    Attributes:
        item: As given to `each`.
        result: What the job returned.
        error: Why there is no result.
    """

    item: Any
    result: Any = None
    error: Exception | None = None


def each(job: Job, items: Sequence[Any], what: str, done: int = 0) -> Iterator[Outcome]:
    """Do a job for every item, and yield what came of each, in the order in which they end.

    Under `--workers` or `--scheduler` a task that failed is tried again, a user's mistake apart,
    and those of a worker that was killed are done by another one. A worker computes as this process
    would with as many threads: to the same bit.

    Args:
        job: Called with an item. For workers it must be picklable.
        items: Picklable, for workers.
        what: The name of an item, plural, for the progress line.
        done: How many more items were finished earlier.

    Raises:
        UserError: If Dask is not installed, or the scheduler does not answer.
    """
    meta, total = click.get_current_context().meta, done + len(items)
    outcomes: Generator[Outcome, None, None]
    if meta.get(_NUMBER) or meta.get(_SCHEDULER):
        outcomes = _by_workers(job, items, meta.get(_NUMBER), meta.get(_SCHEDULER))
    else:
        outcomes = (_done_here(job, item) for item in items)
    with contextlib.closing(outcomes):
        for number in range(done, total):
            tell(what, f"{number + 1} of {total}", number / total)
            yield next(outcomes)


def do_all(
    job: Job, items: Sequence[Any], what: str, tell_result: Callable[[Any], Any] | None = None
) -> int:
    """Do a job for every item, go on past failures, and return how many there were.

    Args:
        job: As of `each`, as are `items` and `what`.
        items: What the job is done with.
        what: The name of an item, plural.
        tell_result: Called with each result.

    Raises:
        Exception: The failure of an only item.
    """
    failed = 0
    for outcome in each(job, items, what):
        if outcome.error is not None:
            if len(items) == 1:
                raise outcome.error
            failed += 1
            report_failure(outcome.item, outcome.error)
        elif tell_result is not None:
            tell_result(outcome.result)
    return failed


def report_failure(item: Any, error: Exception) -> None:
    """Say in one line what failed and why."""
    complain("error", f"{item}: {one_line(error) or type(error).__name__}")


def _done_here(job: Job, item: Any) -> Outcome:
    try:
        return Outcome(item, job(item))
    # whatever one item meets, a framework out of memory say, the others do not depend on it
    except Exception as error:
        return Outcome(item, error=error)


def _by_workers(
    job: Job, items: Sequence[Any], number: int | None, scheduler: str | None
) -> Generator[Outcome, None, None]:
    """Keep every worker busy and a few tasks ahead, so that results never pile up."""
    distributed: Any = load_extra("distributed", "--workers and --scheduler")
    told, waiting, sent = _Told.now(), iter(items), {}
    with _client(distributed, number, scheduler) as client:

        def send(item: Any) -> Any:
            future = client.submit(_do, told, job, item, retries=RETRIES, pure=False)
            sent[future.key] = item
            return future

        ahead = max(_AHEAD * sum(client.nthreads().values()), _LEAST_AHEAD)
        ending = distributed.as_completed(map(send, itertools.islice(waiting, ahead)))
        for future in ending:
            outcome = _outcome_of(distributed, future, sent.pop(future.key))
            future.release()
            for item in itertools.islice(waiting, 1):
                ending.add(send(item))
            yield outcome


def _outcome_of(distributed: Any, future: Any, item: Any) -> Outcome:
    error = future.exception()
    if isinstance(error, distributed.KilledWorker):
        error = UserError("its worker was killed each time; it may need more memory than there is")
    return Outcome(item, error=error) if error is not None else future.result()


@contextlib.contextmanager
def _client(distributed: Any, number: int | None, scheduler: str | None) -> Iterator[Any]:
    """Reach a cluster, or start one of so many processes on this machine."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as held:
        where: Any = scheduler
        if number is not None:
            where = held.enter_context(_local_cluster(distributed, number))
        try:
            yield held.enter_context(distributed.Client(where, timeout="30s"))
        except (OSError, ValueError) as error:
            if scheduler is None or isinstance(error, UserError):
                raise
            raise UserError(f"--scheduler: no answer from {scheduler} ({error})") from error


@contextlib.contextmanager
def _local_cluster(distributed: Any, number: int) -> Iterator[Any]:
    import dask.config
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    threads = max(1, CPU_COUNT // number)
    # a process that waits for memory which a framework keeps would wait for ever
    settings: dict[str, Any] = {
        f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")
    }
    environment = "distributed.nanny.pre-spawn-environ"
    settings |= {f"{environment}.{name}": threads for name in _THREADS}
    with (
        environment_kept(),  # Dask leaves there what its workers inherit
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            memory_limit=MEMORY_LIMIT // number,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@dataclass(frozen=True)
class _Told:
    """What a worker must know of the process that sent a task."""

    run: str
    arguments: tuple[str, ...]
    form: str | None
    backend: str | None
    folder: str

    @classmethod
    def now(cls) -> "_Told":
        context = click.get_current_context()
        arguments = tuple(context.find_root().obj["arguments"])
        form = context.meta.get("anyvox.form")
        return cls(uuid.uuid4().hex, arguments, form, os.environ.get("KERAS_BACKEND"), os.getcwd())


#: of a worker: the run it works for, and the job that does all the run's items
_current: dict[str, Job] = {}


def _do(told: _Told, job: Job, item: Any) -> Outcome:
    """Do a task in a worker. A mistake is an outcome; whatever else is raised is tried again."""
    from anyvox_keras.io import prefer_form

    if told.run not in _current:
        _begin(told)
        _current[told.run] = job
    context = click.Context(click.Command("anyvox"), obj={"arguments": told.arguments})
    try:
        with quiet(), context, prefer_form(told.form):
            return Outcome(item, _current[told.run](item))
    except UserError as error:
        return Outcome(item, error=error)


def _begin(told: _Told) -> None:
    """Take up a run where its process stands, and let go of an earlier one."""
    _current.clear()
    os.chdir(told.folder)
    keras = sys.modules.get("keras")
    if keras is None:
        if told.backend is not None:
            os.environ["KERAS_BACKEND"] = told.backend
        return
    if told.backend not in (None, keras.config.backend()):
        raise UserError(
            f"KERAS_BACKEND: expected {told.backend}, but the worker has loaded "
            f"{keras.config.backend()}; start its cluster anew"
        )
    keras.config.set_dtype_policy(keras.config.floatx())
