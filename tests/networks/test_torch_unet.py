"""The UNet as a plain PyTorch module, and in plain PyTorch loops."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from anyvox_keras.networks import UNet

torch = pytest.importorskip("torch")

VARIANTS = [
    dict(normalization="batch"),
    dict(
        normalization="instance", pooling="average", upsampling="trilinear", epsilon=1e-2, levels=1
    ),
    dict(normalization="instance_affine", skips=False, spacing=(1.0, 3.0, 1.0)),
]


def moved(unet):
    """Give statistics and scales values of their own."""
    rng = np.random.default_rng(0)
    unet.set_weights([w + rng.uniform(0, 0.2, w.shape) for w in unet.get_weights()])
    return unet


def both(unet, module, shape):
    volume = np.random.default_rng(1).normal(size=shape).astype("float32")
    ours = np.asarray(keras.ops.convert_to_numpy(unet.predict_on_batch(volume)))
    with torch.no_grad():
        theirs = module(torch.from_numpy(np.moveaxis(volume, -1, 1).copy())).numpy()
    return ours, np.moveaxis(theirs, 1, -1)


@pytest.mark.parametrize("arguments", VARIANTS, ids=lambda x: x["normalization"])
def test_the_twin_gives_the_same_numbers(arguments):
    unet = moved(UNet(**{"width": 2, "levels": 2, "output_channels": 3, **arguments}, seed=0))
    module = unet.to_torch()
    # Sides that nothing divides, one shorter than the padding that it needs.
    ours, theirs = both(unet, module, (1, 9, 4, 6, 1))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4)


def test_the_twin_needs_no_keras(tmp_path):
    unet = moved(UNet(width=2, levels=1, output_channels=3, seed=0))
    torch.save(unet.to_torch().state_dict(), tmp_path / "unet.pth")
    code = (
        "import sys, torch\n"
        "from anyvox_keras.networks.torch_unet import TorchUNet\n"
        "unet = TorchUNet(width=2, levels=1, output_channels=3).eval()\n"
        "unet.load_state_dict(torch.load(sys.argv[1]))\n"
        "print(float(unet(torch.ones(1, 1, 5, 4, 4)).abs().sum()))\n"
        "assert 'keras' not in sys.modules and 'tensorflow' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "unet.pth")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    volume = np.ones((1, 5, 4, 4, 1), "float32")
    expected = np.abs(keras.ops.convert_to_numpy(unet.predict_on_batch(volume))).sum()
    assert float(done.stdout) == pytest.approx(expected, rel=1e-4)


def trained(module, volume, compiled):
    """Three steps of a plain loop with autocast; the losses."""
    run = torch.compile(module, backend="aot_eager") if compiled else module
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (run(volume).float() - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a module under torch alone")
def test_the_keras_model_trains_in_a_plain_loop():
    volume = torch.randn(1, 8, 8, 8, 1, generator=torch.Generator().manual_seed(0))
    unet = UNet(width=4, levels=1, output_channels=2, normalization="instance", seed=0)
    losses = trained(unet, volume, compiled=False)
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a module under torch alone")
def test_processes_share_gradients_by_ddp(tmp_path):
    """Under PyTorch's DDP two processes with a volume each have the gradients of one with both."""
    (tmp_path / "ddp.py").write_text(
        "import torch\n"
        "from torch.nn.parallel import DistributedDataParallel\n"
        "from anyvox_keras.networks import UNet\n"
        "torch.distributed.init_process_group('gloo')\n"
        "rank = torch.distributed.get_rank()\n"
        "batch = torch.randn(2, 8, 8, 8, 1, generator=torch.Generator().manual_seed(0))\n"
        "sizes = dict(width=2, levels=1, output_channels=2, normalization='instance')\n"
        "unet = UNet(**sizes, seed=rank)\n"  # DDP begins with the first one's weights
        "for channel, module in ((4, unet), (1, UNet(**sizes, seed=rank).to_torch().train())):\n"
        "    volumes = batch.movedim(-1, channel)\n"
        "    wrapped = DistributedDataParallel(module)\n"
        "    gradients = []\n"
        "    for run, part in ((wrapped, volumes[rank : rank + 1]), (module, volumes)):\n"
        "        module.zero_grad()\n"
        "        (run(part) - 1).square().mean().backward()\n"
        "        parameters = [p for p in module.parameters() if p.requires_grad]\n"
        "        gradients.append([p.grad.clone() for p in parameters])\n"
        "    for shared, own in zip(*gradients, strict=True):\n"
        "        torch.testing.assert_close(shared, own, rtol=1e-3, atol=1e-5)\n"
        "    assert max(g.abs().max() for g in gradients[0]) > 1e-2\n"
    )
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", str(tmp_path / "ddp.py")]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_twin_trains_compiled_in_a_plain_loop():
    volume = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    unet = UNet(width=4, levels=1, output_channels=2, normalization="instance", seed=0)
    losses = [trained(unet.to_torch().train(), volume, compiled) for compiled in (False, True)]
    assert losses[0][2] < losses[0][1] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
