"""One table of what `benchmarks/registration.py` measured, and what a choice hangs on."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# where the label is no measure: strongly smoothed demonstration images, a threshold of thin bone
BY_POINTS = ("mouse_skull_ct", "prostate_mr_us")
# a Dice that falls by more than this ends below its start
LOSS = 0.005
Row = dict[str, Any]


def set_of(pair: str) -> str:
    """The kind of pair: its name without numbers and subjects."""
    if pair.startswith("mouse_skull_ct"):
        return "mouse_skull_ct"
    return re.sub(r"(_ctatlas)?(_\d+)+$", "", pair)


def print_table(rows: Sequence[Row]) -> None:
    """Print one line a set and, last, the means over sets, for each method and masks."""
    for masks in dict.fromkeys(row["masks"] for row in rows):
        for method in dict.fromkeys(row["method"] for row in rows):
            mine = [row for row in rows if row["masks"] == masks and row["method"] == method]
            if mine:
                _print_method(method, masks, mine)


def _print_method(method: str, masks: str, rows: list[Row]) -> None:
    print(f"\n{method}, masks: {masks}")
    print(
        f"{'set':16} {'start':>7} {'end':>7} {'worst pair':>10} {'folds %':>8} {'s':>6} "
        f"{'cpu s':>6} {'lost':>6}"
    )
    lines = [_line(name, part) for name, part in by_set(rows).items()]
    for line in lines:
        print(_text(line))
    dice = [line for line in lines if line["set"] not in BY_POINTS]
    if dice:
        print(
            f"{'mean of sets':16} {_mean(dice, 'start'):7.4f} {_mean(dice, 'end'):7.4f} "
            f"{min(line['worst'] for line in dice):10.4f} {max(x['folds'] for x in lines):8.4f} "
            f"{_mean(lines, 'seconds'):6.1f} {_mean(lines, 'cpu'):6.1f} {_lost(rows):6.0%}"
            "   (Dice; TRE sets left out)"
        )


def _line(name: str, rows: list[Row]) -> Row:
    start, end = measure(rows, "before"), measure(rows, "after")
    worst = np.max(end) if name in BY_POINTS else np.min(end)
    return {
        "set": name, "start": np.mean(start), "end": np.mean(end), "worst": worst,
        "folds": max(row["folds_percent"] for row in rows),
        "seconds": np.mean([row["seconds"] for row in rows]),
        "cpu": np.mean([row["cpu_seconds"] for row in rows]), "lost": _lost(rows),
    }  # fmt: skip


def _text(line: Row) -> str:
    unit = " mm" if line["set"] in BY_POINTS else ""
    return (
        f"{line['set']:16} {line['start']:7.4f} {line['end']:7.4f} {line['worst']:10.4f} "
        f"{line['folds']:8.4f} {line['seconds']:6.1f} {line['cpu']:6.1f} {line['lost']:6.0%}{unit}"
    )


def by_set(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Sort rows by the set of their pair."""
    names = sorted({set_of(row["pair"]) for row in rows})
    return {name: [row for row in rows if set_of(row["pair"]) == name] for name in names}


def measure(rows: Sequence[Row], when: str) -> list[float]:
    """What the set is judged by: mean Dice, or the landmarks' distance in mm."""
    kind = "tre" if set_of(rows[0]["pair"]) in BY_POINTS else "dice"
    return [row[f"{kind}_{when}"] for row in rows]


def _lost(rows: Sequence[Row]) -> float:
    return float(np.mean([row["dice_after"] < row["dice_before"] - LOSS for row in rows]))


def _mean(lines: Sequence[Row], key: str) -> float:
    return float(np.mean([line[key] for line in lines]))


def print_choice(rows: Sequence[Row], baseline: str) -> None:
    """Compare every method with the baseline, set by set, and leave each set out once.

    A set's gain is the difference of its mean Dice (of its TRE, relative and negative, where that
    is the measure). The last column of a method counts the sets without which another method
    would have been chosen by the mean gain.
    """
    gains = gains_over(rows, baseline)
    names = sorted({name for gain in gains.values() for name in gain})
    print(f"\ngain over {baseline}: mean, least (set), most (set)")
    for method, gain in sorted(
        gains.items(), key=lambda item: -float(np.mean([*item[1].values()]))
    ):
        low, high = min(gain, key=gain.__getitem__), max(gain, key=gain.__getitem__)
        print(
            f"{np.mean([*gain.values()]):+.4f}  {gain[low]:+.4f} ({low})  "
            f"{gain[high]:+.4f} ({high})  {method}"
        )
    full = {method: gain for method, gain in gains.items() if len(gain) == len(names)}
    if full:
        best = _best(full, names)
        others = {n: _best(full, [m for m in names if m != n]) for n in names}
        swayed = {name: other for name, other in others.items() if other != best}
        print(f"chosen by the mean: {best}; without one set, another: {swayed or 'never'}")


def gains_over(rows: Sequence[Row], baseline: str) -> dict[str, dict[str, float]]:
    """Gain of each method over the baseline on each set, over the pairs that both have."""
    ours = {(row["method"], row["masks"], row["pair"]): row for row in rows}
    base = {k[2]: row for k, row in ours.items() if f"{k[0]}, {k[1]}" == baseline}
    gains: dict[str, dict[str, float]] = {}
    for method, masks in dict.fromkeys(key[:2] for key in ours):
        mine = [row for k, row in ours.items() if k[:2] == (method, masks) and k[2] in base]
        gains[f"{method}, {masks}"] = {
            name: _gain([base[row["pair"]] for row in part], part, name in BY_POINTS)
            for name, part in by_set(mine).items()
        }
    return gains


def _gain(base: list[Row], rows: list[Row], by_points: bool) -> float:
    before, after = np.mean(measure(base, "after")), np.mean(measure(rows, "after"))
    return float((before - after) / before if by_points else after - before)


def _best(gains: dict[str, dict[str, float]], names: Sequence[str]) -> str:
    return max(gains, key=lambda method: float(np.mean([gains[method][name] for name in names])))
