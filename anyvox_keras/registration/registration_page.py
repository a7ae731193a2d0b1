"""A registration as a page that one opens, looks through and shares."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras import backend
from anyvox_keras.io import provenance_of
from anyvox_keras.metrics import target_registration_error
from anyvox_keras.ops import jacobian_determinant
from anyvox_keras.pictures import Link, Page, Table, Viewer, made_with_tables, warped_lines

#: the measures of `Quality` in a reader's words
WORDS = {
    "information": "mutual information of the images (1: each tells the other)",
    "information_gain": "its gain over the start, as a share",
    "information_peak": "it, over that of the result moved aside",
    "correlation_peak": "local correlation, over that of the result moved aside",
    "edge_percent": "voxels moved as far as the search reaches, %",
    "inverse_residual_mm": "there and back, 95 % of the voxels are off by less than, mm",
    "inverse_residual": "the same in voxels",
    "overlap": "share of the fixed image that is covered",
    "mask_dice": "Dice of the masks",
    "dice": "mean Dice of the labels",
    "dice_change": "its change",
    "tre_change": "change of the landmarks' distance, as a share",
}


def registration_page(
    result: Any,
    figure: Any = None,
    names: Mapping[int, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Page:
    """Gather what a report says of a registration.

    Args:
        result: A `Registration`.
        figure: The planes, as `registration_report` draws them.
        names: What labels are called.
        provenance: What it was made with, see `provenance_of`.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx
        from anyvox_keras.registration import registration_page

        fixed = np.random.rand(16, 16, 16).astype("float32")
        page = registration_page(avx.register(fixed, np.roll(fixed, 1, axis=0)))
        ```
    """
    names, provenance = names or {}, provenance or provenance_of({})
    return Page(
        f"{Path(result.moving.name).name} to {Path(result.fixed.name).name}",
        result.summary,
        result.quality.verdict,
        result.quality.reasons,
        list(_tables(result, names, provenance)),
        _viewer(result, names),
        figure,
        provenance.get("command", ""),
    )


def _viewer(result: Any, names: Mapping[int, str]) -> Viewer:
    """The images before and after, labels, and the map itself."""
    field = result.deformation
    with backend.no_gradient():
        determinant = backend.to_numpy(jacobian_determinant(field[None]))[0]
    logarithm = np.log2(np.maximum(determinant, 1e-3))
    bound = float(np.clip(np.percentile(np.abs(logarithm), 99), 0.15, 2))
    length = np.linalg.norm(field * np.asarray(result.fixed.spacing), axis=-1)
    longest = max(float(length.max()), 1e-3)
    labels = result.label_maps
    return Viewer(
        result.fixed.grid,
        {"fixed": result.fixed.array, "moving": result.before, "moved": result.moved},
        {} if labels is None else dict(
            zip(("labels, fixed", "labels, moving", "labels, moved"), labels, strict=True)
        ),
        names,
        {
            "warped grid": (warped_lines(field, result.fixed.grid), 0.0, 3.0, "lines"),
            "volume change (log2 of the Jacobian)": (logarithm, -bound, bound, "diverging"),
            "displacement, mm": (length, 0.0, longest, "growing"),
        },
        points=() if result.landmarks is None else result.landmarks[0],
    )  # fmt: skip


def _tables(
    result: Any, names: Mapping[int, str], provenance: Mapping[str, Any]
) -> Iterator[Table]:
    metrics = result.metrics
    if metrics["dice"]:
        yield _labels(metrics, names)
    if result.landmarks is not None:
        yield _landmarks(result)
    yield Table("The map", ("measure", "value"), list(_measures(metrics)))
    yield from made_with_tables(provenance)


def _labels(metrics: dict[str, Any], names: Mapping[int, str]) -> Table:
    """Labels by their Dice, the worst first."""
    rows: list[tuple[Any, ...]] = [
        (names.get(int(label), f"label {label}"), int(label), dice["before"], dice["after"],
         *(_finite(metrics["hd95"][label][when]) for when in ("before", "after")))
        for label, dice in metrics["dice"].items()
    ]  # fmt: skip
    columns = ("label", "number", "Dice before", "Dice after", "HD95 before, mm", "HD95 after, mm")
    note = "An empty cell: one of the two maps lacks the label."
    return Table("Labels, worst first", columns, sorted(rows, key=lambda row: row[3]), note)


def _landmarks(result: Any) -> Table:
    here, there = result.landmarks
    mapped = result.warp.points(here)
    rows: list[tuple[Any, ...]] = [
        (Link(f"landmark {k + 1}", f"#point-{k}"), *map(float, here[k]),
         *(target_registration_error(x[k : k + 1], there[k : k + 1]) for x in (here, mapped)))
        for k in range(len(here))
    ]  # fmt: skip
    columns = ("landmark", "R", "A", "S", "apart before, mm", "apart after, mm")
    rows.sort(key=lambda row: -row[-1])
    return Table("Landmarks, worst first", columns, rows, "A click shows where it lies, in the "
                 "fixed image; mm, RAS.")  # fmt: skip


def _measures(metrics: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "voxels that fold, %", metrics["folds_percent"]
    yield "standard deviation of the log Jacobian", metrics["sd_log_jacobian"]
    for name, value in metrics["quality"]["measures"].items():
        if name != "folds_percent":
            yield WORDS[name], value
    if metrics["seconds"] is not None:
        yield "seconds", metrics["seconds"]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
