"""Put a preset on the Hugging Face hub and load it from there, by name and by revision.

    python examples/share_preset.py --repository me/my-features   # after `hf auth login`

Without --repository a folder stands in for the hub, so that this runs anywhere.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import anyvox_keras as avx
from anyvox_keras.networks import load_network, preset_metadata, upload_preset


class FolderHub:
    """What is used of `huggingface_hub`, on a folder: a commit is a folder of its number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commits = 0

    def HfApi(self):  # noqa: N802
        return self

    def create_repo(self, repository, private, exist_ok) -> None:
        (self.folder / repository).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, repo_id, folder_path, revision, commit_message, allow_patterns):
        self.commits += 1
        shutil.copytree(folder_path, self.folder / repo_id / str(self.commits), dirs_exist_ok=True)
        return SimpleNamespace(oid=str(self.commits))

    def snapshot_download(self, repository, revision=None) -> str:
        return str(self.folder / repository / (revision or str(self.commits)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", help="owner/name on the real hub")
    parser.add_argument("--out", default=Path("shared_presets"), type=Path)
    args = parser.parse_args()
    if not args.repository:
        sys.modules["huggingface_hub"] = FolderHub(args.out / "hub")
    address = f"hf://{args.repository or 'me/my-features'}"

    # 1. A network, said what it is: the licence becomes the hub's, the rest rows of the card.
    networks = [avx.UNet(width=4, levels=2, seed=seed) for seed in (0, 1)]
    commits = []
    for network in networks:
        facts = {"licence": "Apache-2.0", "norm": "unit", "trained on": "geometric shapes"}
        network.save_to_preset(args.out / "mine", facts, safetensors=True)
        commits.append(upload_preset(address, args.out / "mine"))
        print(f"uploaded: {commits[-1]}")

    # 2. Anyone loads the newest, or exactly that commit.
    volume = np.random.default_rng(0).random((1, 8, 8, 8, 1), dtype="float32")
    for source, network in ((address, networks[1]), (commits[0], networks[0])):
        loaded = load_network(source)
        same = np.array_equal(loaded.predict_on_batch(volume), network.predict_on_batch(volume))
        print(f"{source}: a {type(loaded).__name__}, the same features: {same}")
    print(f"licence {preset_metadata(address)['licence']}; SHA-256 checked on loading")

    # 3. So does everything that takes weights.
    features = avx.FeatureExtractor.from_preset(address)(volume[0, ..., 0])
    print(f"anyvox features image.nii.gz features.nii.gz --weights {address}: {features.shape[-1]}")


if __name__ == "__main__":
    main()
