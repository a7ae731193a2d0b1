"""A report in both palettes, side by side, as Chromium shows it.

`python docs/pictures/report_pages.py result/report.html --out docs/images/report_page.png`
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from browser import browser

#: a viewer is drawn, or there is none in the page
READY = "document.body && (document.body.dataset.ready === 'yes' || " + (
    "(document.readyState === 'complete' && !document.getElementById('viewer')))"
)
#: pixels of the window, and how much smaller its picture is
WIDTH, SCALE = 1200, 0.68
PAINTED = "new Promise(r => setTimeout(r, 400))"


def choose(control: str, value: str) -> str:
    """The script that sets a control of the page as a hand does."""
    return (
        "(e => { if (e.type === 'checkbox') return e.click();"
        f" e.value = {value!r}; e.dispatchEvent(new Event('input', {{bubbles: true}}));"
        " e.dispatchEvent(new Event('change', {bubbles: true})) })"
        f"(document.getElementById({control!r}))"
    )


def shoot(page: Path, controls: dict[str, list[str]], height: int) -> np.ndarray:
    """The page in the light palette with each control's first value, in the dark one its last."""
    shots = []
    for number, scheme in enumerate(("light", "dark")):
        with browser(WIDTH, height) as tab:
            tab.ask(
                "Emulation.setDeviceMetricsOverride",
                width=WIDTH, height=height, deviceScaleFactor=SCALE, mobile=False,
            )  # fmt: skip
            tab.ask(
                "Emulation.setEmulatedMedia",
                features=[{"name": "prefers-color-scheme", "value": scheme}],
            )
            tab.open(page, READY)
            for control, values in controls.items():
                tab.run(choose(control, values[min(number, len(values) - 1)]))
            tab.run(PAINTED)
            if tab.complaints():
                sys.exit(f"{page}: {tab.complaints()}")
            shots.append(tab.shot()[: round(SCALE * height)])
    rows = min(len(shot) for shot in shots)
    return np.concatenate([shot[:rows] for shot in shots], axis=1)


def main() -> None:
    """Parse, shoot, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="ID=LIGHT,DARK")
    parser.add_argument("--height", type=int, default=820)
    given = parser.parse_args()
    controls = {word.split("=")[0]: word.split("=")[1].split(",") for word in given.set}
    picture = Image.fromarray(shoot(given.page, controls, given.height))
    picture.save(given.out, optimize=True)


if __name__ == "__main__":
    main()
