"""Make the documentation's pictures, all by one command and in one style.

    python docs/pictures/make.py [NAME ...] [--list]

Without names: those that need no data and no training run. The others are drawn from what a
benchmark or a run leaves, by the command that `--list` shows.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


class Recipe(NamedTuple):
    """How some pictures are made.

    Attributes:
        command: What writes them; `OUT` is an empty folder.
        pictures: Names in `docs/images`, without their endings, and the files that become them.
        needs: What must be there first; empty where nothing is.
    """

    command: str
    pictures: dict[str, str]
    needs: str = ""


EFFECTS = ("labels", "pipeline", "contrast", "k_space", "resolution", "noise")
RECIPES = (
    Recipe("python examples/appearance_gallery.py --out OUT", {n: f"{n}.png" for n in EFFECTS}),
    Recipe(
        "python examples/template_gallery.py --out OUT",
        {"templates": "templates.png", "anatomical": "anatomical.png"},
    ),
    Recipe(
        "python -m anyvox_keras.cli demo --out OUT",
        {"demo": "report.png", "features": "features.png"},
    ),
    Recipe(
        "python docs/pictures/before_after.py --out OUT/before_after.webp",
        {"before_after": "before_after.webp"},
    ),
    Recipe(
        "python benchmarks/alignment.py --picture OUT/alignment.png",
        {"alignment": "alignment.png"},
        "runs of half an hour on each backend",
    ),
    *(
        Recipe(
            f"python benchmarks/training_curve.py RUN1 RUN2 RUN3 --picture OUT/{name}.png",
            {name: f"{name}.png"},
            "the runs of the stages of its pretraining",
        )
        for name in ("anyvox-base", "anyvox-small")
    ),
    Recipe(
        "python benchmarks/segmentation.py --out OUT",
        {"few-shot": "curve.png"},
        "the hearts of the Decathlon, and an hour",
    ),
    Recipe(
        "python benchmarks/voxelmorph.py RUNS --picture OUT/curve.png",
        {"voxelmorph": "curve.png"},
        "the runs that the benchmark makes of scans",
    ),
    Recipe(
        "python docs/pictures/report_pages.py result/report.html --out OUT/page.png "
        "--set blend=2 overlay=0,3 outline=on --height 960",
        {"report_page": "page.png"},
        "the result of anyvox register, of two labelled scans, and Chromium",
    ),
    Recipe(
        "python docs/pictures/report_pages.py results/report.html --out OUT/page.png --height 620",
        {"report_batch": "page.png"},
        "the results of anyvox register --batch, and Chromium",
    ),
)


def listed() -> str:
    """Return a line for each picture: its name, the command, what it needs."""
    lines = [
        f"{name}: {recipe.command}" + (f"  # needs {recipe.needs}" if recipe.needs else "")
        for recipe in RECIPES
        for name in recipe.pictures
    ]
    return "\n".join(lines) + "\n"


def make(recipe: Recipe, names: set[str]) -> None:
    """Run the command of some pictures, and put those of these names where the pages show them."""
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace("OUT", folder) for word in shlex.split(recipe.command)]
        environment = {"KERAS_BACKEND": "torch", **os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *words[1:]], cwd=ROOT, env=environment, check=True)
        for name, file in recipe.pictures.items():
            if name in names:
                shutil.copyfile(Path(folder, file), IMAGES / f"{name}{Path(file).suffix}")


def main() -> None:
    """Read the names and make their pictures."""
    free = [name for recipe in RECIPES if not recipe.needs for name in recipe.pictures]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=free, help=f"of {', '.join(free)}")
    parser.add_argument("--list", action="store_true", help="Show every picture and its command.")
    options = parser.parse_args()
    if options.list:
        parser.exit(message=listed())
    names = set(options.names)
    if unknown := names - set(free):
        parser.error(f"expected some of {', '.join(free)}, received {', '.join(unknown)}")
    for recipe in RECIPES:
        if names & set(recipe.pictures):
            make(recipe, names)


if __name__ == "__main__":
    main()
