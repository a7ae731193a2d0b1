"""Several processes of PyTorch, each with a device of its own, that train one model together."""

import contextlib
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import torch
from torch import Tensor

from anyvox_keras.shards import LAUNCHED, LOST, environment_kept, lost_told, told_by_torchrun

#: words of the errors that a process sees whose peer was lost; they have no class of their own
LOSSES = ("gloo", "NCCL", "peer")
#: whether processes train one model together right now, and each computes every step's loss
_together = False
#: exit codes of a process that was killed, or crashed, and not told to end by `run_processes`
KILLED = {-one for one in signal.Signals} - {-signal.SIGTERM}


def process_shard() -> tuple[int, int]:
    """Which of how many processes this is, by the process group.

    Before there is one, and in a loader's worker that was not forked, by what `torchrun` says.
    """
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    return told_by_torchrun()


@contextlib.contextmanager
def on_devices(count: int) -> Iterator[None]:
    """Take part in a training of so many processes, each with a device of its own.

    `torchrun` starts them, here as one of many; `anyvox --devices` does it by itself. Within
    another training of theirs they stay as they are.
    """
    group, (index, parts) = torch.distributed, process_shard()
    if parts == 1 and count > 1:
        raise ValueError(f"{count} devices are {count} processes, started by torchrun")
    if parts == 1:
        yield
        return
    if _grouped():
        with lost_told((RuntimeError,), LOSSES):
            yield
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", index)))
    group.init_process_group("nccl" if on_gpu else "gloo")
    try:
        with lost_told((RuntimeError,), LOSSES):
            yield
    finally:
        group.destroy_process_group()


def run_processes(command: Sequence[str], count: int) -> int:
    """Run a Python command in so many processes, as `torchrun` does; return the exit code.

    Raises:
        ConnectionError: If one of them was killed; the others are ended.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    told = {LAUNCHED: "1", **os.environ}
    # Processes of one CPU share its cores.
    if not torch.cuda.is_available():
        told.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        with environment_kept():
            os.environ.update(told)
            elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        # Others may have failed for want of a killed one and be seen before it; PyTorch then ends
        # the rest by SIGTERM.
        killed = (one for one in error.failures.items() if one[1].exitcode in KILLED)
        rank, failure = next(killed, error.get_first_failure())
        if failure.exitcode < 0:
            raise ConnectionError(LOST.format(f" {rank} ({failure.signal_name()})")) from error
        return int(failure.exitcode)
    return 0


def device_count() -> int:
    """Number of devices that could train together: processes of `torchrun`, GPUs, or one CPU."""
    parts = process_shard()[1]
    return parts if parts > 1 else max(1, torch.cuda.device_count())


def peers() -> tuple[int, int]:
    """Which of how many processes that train one model together this is."""
    return process_shard() if _grouped() else (0, 1)


def batch_shares(model: keras.Model, /) -> int:
    """Number of devices that share each batch of a stream: a process has one."""
    return peers()[1]


def _grouped() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def agreed(value: Any) -> Any:
    """Return the first process's value in all processes that train one model together."""
    if not _grouped():
        return value
    told = [value]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


@contextlib.contextmanager
def gradients_averaged(model: Any, /) -> Iterator[None]:
    """Let the gradients be those of all processes' samples while a model is trained.

    Every process begins with the first one's weights. A gradient is averaged as soon as the
    backward pass has added it up, on a GPU beside the rest of that pass.
    """
    global _together
    if not _grouped():
        yield
        return
    group = torch.distributed
    for variable in [*model.variables, *model.optimizer.variables]:
        group.broadcast(variable.value.data, src=0)

    def average(parameter: Tensor) -> None:
        gradient: Any = parameter.grad
        group.all_reduce(gradient)
        gradient.div_(group.get_world_size())

    hooks = [
        variable.value.register_post_accumulate_grad_hook(average)
        for variable in model.trainable_variables
    ]
    _together = True
    try:
        yield
    finally:
        _together = False
        for hook in hooks:
            hook.remove()


def mean_over_devices(x: Tensor, /) -> Tensor:
    """Average a number over the devices that train one model together; it has no gradient."""
    if not _together:
        return x
    total = x.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


@contextlib.contextmanager
def summed_over_peers(variables: Sequence[Any], /) -> Iterator[None]:
    """Let sums that each process keeps, as metrics do, be those of all for a while."""
    if not _grouped():
        yield
        return
    own = [variable.value.detach().clone() for variable in variables]
    for variable in variables:
        total = variable.value.detach().clone()
        torch.distributed.all_reduce(total)
        variable.assign(total)
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
