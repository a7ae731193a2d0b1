"""Facts of the machine."""

import pytest

from anyvox_keras import backend
from anyvox_keras.backend import device
from anyvox_keras.contrastive.pretraining_run import PretrainingRun
from anyvox_keras.contrastive.run_settings import RunSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n", True),
        ("flags : fpu avx512_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags : fpu avx2 avx512f\nmodel name : bf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(text, expected, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(device, "CPUINFO", path)
    assert device.cpu_has_bfloat16() == expected


def test_a_system_that_does_not_tell_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "absent")
    assert not device.cpu_has_bfloat16()


def test_precision_auto_takes_what_the_device_computes_in(tmp_path):
    run = PretrainingRun(tmp_path, RunSettings(precision="auto"))
    assert run.policy == ("mixed_bfloat16" if backend.has_bfloat16() else "float32")
    assert backend.device_name() != "CPU" or backend.has_bfloat16() == device.cpu_has_bfloat16()
