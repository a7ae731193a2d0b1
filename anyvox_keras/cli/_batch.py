"""Many pairs: a table of them, its shards, and what came of each."""

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from anyvox_keras import io
from anyvox_keras.cli._batch_page import save_batch_page
from anyvox_keras.cli._register_pair import check_pair, named_pair, paths_in
from anyvox_keras.cli._workers import each, report_failure
from anyvox_keras.errors import UserError
from anyvox_keras.io.csv_table import require_once
from anyvox_keras.progress import note
from anyvox_keras.shards import part_of

#: column of the table -> of `metrics.csv`, and its digits
SHOWN = {
    "Dice before": ("mean_dice_before", 4),
    "after": ("mean_dice_after", 4),
    "folds (%)": ("folds_percent", 4),
    "seconds": ("seconds", 1),
}
#: beside the folders of the pairs
RESULTS = "metrics.csv"
COLUMNS = (
    "pair", "verdict", "reasons", "mean_dice_before", "mean_dice_after", "mean_hd95_before",
    "mean_hd95_after", "tre_mm_before", "tre_mm_after", "folds_percent", "sd_log_jacobian",
    "seconds",
)  # fmt: skip
#: beside the results
MADE_FROM = ".made_from.json"
# how much a registration may take changes nothing of what it says
_NEUTRAL = ("memory", "label_names")
#: registers a pair of options, saves it to a folder (overwriting or not), returns a line and the
#: verdict on the result
RegisterPair = Callable[[dict[str, Any], Path, bool], tuple[str, str]]
#: seconds to wait for another shard that writes the table of all results
SHARDS_WAIT = 60.0
#: exit code where a registration itself says that it failed; its files are written
NOT_TRUSTED = 3
#: the gravest first, as the table of a batch has them; a pair without a verdict never ended
ORDER = (None, "FAIL", "WARN", "PASS")


def read_result(folder: Path) -> dict[str, Any]:
    """Return a pair's row of `metrics.csv`; no verdict where it was not registered."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row["pair"] = folder.name
    if not (folder / "metrics.json").exists():
        return row
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        # results of before there were verdicts are to be looked at
        quality = found.get("quality") or {"verdict": "WARN", "reasons": ["no verdict"]}
        row |= {"verdict": quality["verdict"], "reasons": "; ".join(quality["reasons"])}
    except (ValueError, AttributeError):
        return row  # damaged, or another program's: the pair is registered anew
    for name in ("folds_percent", "sd_log_jacobian", "seconds"):
        row[name] = found.get(name)
    for name in ("mean_dice", "mean_hd95", "tre_mm"):
        for when in ("before", "after"):
            row[f"{name}_{when}"] = (found.get(name) or {}).get(when)
    return row


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write one row per pair."""
    with io.atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(results)


def show_results(results: Sequence[dict[str, Any]]) -> None:
    """Print a table of all pairs, those of earlier runs included, and of their means."""
    from rich.console import Console
    from rich.table import Table

    table = Table("pair", "verdict", *SHOWN, box=None)
    for row in results:
        table.add_row(row["pair"], row["verdict"] or "failed", *map(_cell, [row] * 4, SHOWN))
    known = {key: [r[key] for r in results if r[key] is not None] for key, _ in SHOWN.values()}
    means = {key: sum(values) / len(values) if values else None for key, values in known.items()}
    table.add_row("mean", "", *map(_cell, [means] * 4, SHOWN))
    Console(highlight=False, soft_wrap=True).print(table)


def _cell(row: dict[str, Any], column: str) -> str:
    key, digits = SHOWN[column]
    return "" if row[key] is None else f"{row[key]:.{digits}f}"


def forget_made_from(folder: Path) -> None:
    """Say of the results that their origin is not known, while they are made anew."""
    io.save_json(folder / MADE_FROM, None, overwrite=True)


def note_made_from(pair: dict[str, Any], folder: Path) -> None:
    """Keep the files' checksums and the settings beside the results."""
    io.save_json(folder / MADE_FROM, _made_from(pair), overwrite=True)


def require_made_from(pair: dict[str, Any], folder: Path) -> None:
    """Refuse results of other files or settings; results without a note are taken as they are.

    Raises:
        UserError: naming what differs.
    """
    if not (folder / MADE_FROM).exists():
        return
    try:
        noted = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))
    except ValueError:
        noted = None
    if not isinstance(noted, dict):
        raise UserError(
            "it is not known what the results were made from (a run was stopped, or the note is "
            "damaged); pass --overwrite to make them anew"
        )
    now = _made_from(pair)
    other = sorted(name for name in {*noted, *now} if noted.get(name) != now.get(name))
    if other:
        raise UserError(
            f"the results were made with another {', '.join(other)}; pass --overwrite to make "
            "them anew, or give the pair another name"
        )


def _made_from(pair: dict[str, Any]) -> dict[str, Any]:
    """Checksums of files and whatever else is set, as JSON keeps it."""
    from anyvox_keras.io.provenance import sha256_of

    found = {}
    for name, value in pair.items():
        if name in _NEUTRAL or value is None or value is False:
            continue
        if isinstance(value, tuple) and paths_in(value):
            found[name] = [sha256_of(path) for path in paths_in(value)]
            continue
        path = Path(value) if isinstance(value, Path) or name == "weights" else None
        if path is not None and path.is_file():
            value = sha256_of(path)
        elif path is not None and path.is_dir():
            value = [str(path), *_stamps(path)]
        found[name] = json.loads(json.dumps(value, default=str))
    return found


def _stamps(folder: Path) -> list[str]:
    """What tells whether a preset or a run has changed: its files' names, sizes and times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]


def run_pairs(
    batch: Path | None,
    out: Path,
    options: dict[str, Any],
    overwrite: bool,
    register_pair: RegisterPair,
) -> int:
    """Register the pair of the options, or a shard of a table; return the exit code."""
    options = named_pair(options, batch)
    shard = options.pop("shard")
    if batch is not None:
        return run_batch(batch, out, options, overwrite, register_pair, shard)
    check_pair(options, out, overwrite)
    with io.exclusive(out):
        line, verdict = register_pair(options, out, overwrite)
    click.echo(line)
    return NOT_TRUSTED if verdict == "FAIL" else 0


def run_batch(
    table: Path,
    out: Path,
    options: dict[str, Any],
    overwrite: bool,
    register_pair: RegisterPair,
    shard: tuple[int, int] = (0, 1),
) -> int:
    """Register every row of a CSV into a folder of its own and go on past a failed one.

    A row's columns are the flags' names (dashes or underscores) and override the command line;
    `name` names its folder, else the row's number does. What repeats (channels) is separated by
    semicolons. Relative paths start at the table's
    folder. A pair whose `metrics.json` exists is done, if it was made from the row's files, by
    their checksums, and by its settings; otherwise it fails until `--overwrite` makes it anew.

    A table of the pairs ends it, those to look at first, and `report.html` with pictures; it and
    `metrics.csv` hold all pairs of the CSV, of which a shard may have registered a part.

    Returns:
        0; 1 if any pair of the shard could not be registered; else 3 if any of its results bears
        the verdict FAIL.

    Raises:
        UserError: A table that cannot be used, before anything runs.
    """
    rows = _read(table, options)
    folders = _folders(table, rows, out)
    results_file = io.check_output(out / RESULTS, overwrite=True, inputs=[table])
    own = part_of(list(zip(rows, folders, strict=True)), shard)
    failed, tasks = 0, []
    for number, (row, folder) in enumerate(own, start=1):
        try:
            pair = {**options, **row}
            if read_result(folder)["verdict"] is not None and not overwrite:
                require_made_from(pair, folder)
                click.echo(f"{folder}: done already")
                continue
            tasks.append(PairTask(pair, folder, f"pair {number} of {len(own)}: {folder}"))
        except (UserError, OSError) as error:
            failed += 1
            report_failure(folder, error)
    for outcome in each(PairJob(register_pair), tasks, "pairs", done=len(own) - len(tasks)):
        if outcome.error is not None:
            failed += 1
            report_failure(outcome.item.folder, outcome.error)
        else:
            click.echo(outcome.result)
    out.mkdir(parents=True, exist_ok=True)
    with io.exclusive(results_file, wait=SHARDS_WAIT):
        judged = sorted(((read_result(folder), folder) for folder in folders), key=_gravity)
        write_results(results_file, [result for result, _ in judged])
        page = save_batch_page(out, judged)
    mine = {folder for _, folder in own}
    results = [result for result, folder in judged if folder in mine]
    show_results(results)
    click.echo(f"open {page}")
    if failed:
        return 1
    return NOT_TRUSTED if any(result["verdict"] == "FAIL" for result in results) else 0


@dataclass(frozen=True)
class PairTask:
    """A pair's options, its folder, and what is told when it begins."""

    pair: dict[str, Any]
    folder: Path
    told: str


@dataclass(frozen=True)
class PairJob:
    """Registers a pair into its folder, and replaces what an interrupted run left there."""

    register_pair: RegisterPair

    def __call__(self, task: PairTask) -> str:
        """Return one line of results."""
        note(task.told)
        # what an interrupted run left there is incomplete: metrics.json comes last
        check_pair(task.pair, task.folder, overwrite=True)
        with io.exclusive(task.folder):
            forget_made_from(task.folder)
            line, _ = self.register_pair(task.pair, task.folder, True)
            note_made_from(task.pair, task.folder)
        return line


def _gravity(judged: tuple[dict[str, Any], Path]) -> tuple[int, float]:
    """Verdict first, then Dice: small is bad."""
    result, _ = judged
    return ORDER.index(result["verdict"]), result["mean_dice_after"] or 0.0


def _folders(table: Path, rows: list[dict[str, Any]], out: Path) -> list[Path]:
    """Take the names off the rows; two pairs in one folder would be taken for one done twice."""
    names = [row.pop("name", None) or f"{number:04d}" for number, row in enumerate(rows, start=1)]
    places = [os.path.normpath(name) for name in names]
    for name, place in zip(names, places, strict=True):
        first = place.split(os.sep)[0]
        if os.path.isabs(place) or first in (os.curdir, os.pardir, RESULTS):
            raise UserError(f"{table}: expected names of folders in {out}, received {name}")
    # "A" and "a" are one folder on some systems
    same = [place.casefold() for place in places]
    twice = sorted({n for n, place in zip(names, same, strict=True) if same.count(place) > 1})
    if twice:
        raise UserError(f"{table}: expected a name of its own for each pair, received {twice}")
    return [out / place for place in places]


def _read(table: Path, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows; a table that cannot be used is a mistake before anything runs."""
    parsed = []
    for where, given in io.read_table(table, "pair"):
        # dashes and underscores spell the same flag
        names = [name.lstrip("-").replace("-", "_") for name in given]
        require_once(table, names)
        columns = dict(zip(names, given.values(), strict=True))
        unknown = sorted(set(columns) - set(options) - {"name"})
        lacking = sorted({"fixed", "moving"} - set(columns))
        if unknown or lacking:
            found = f"unknown {unknown}" if unknown else f"no {lacking}"
            raise UserError(f"{where}: expected the flags of register, {found}")
        parsed.append(_parse(table.parent, where, columns))
    return parsed


def _parse(folder: Path, where: str, columns: dict[str, str]) -> dict[str, Any]:
    """Return what a row sets, by the parser of the command line."""
    command = click.get_current_context().command
    name = {"name": columns.pop("name")} if "name" in columns else {}
    flags = {option.name: option for option in command.params if option.name in columns}
    words = [word for name in columns for word in _words(flags[name], columns[name])]
    row = click.Context(command)
    try:
        given, _, order = command.make_parser(row).parse_args(words)
        for option in order:
            option.handle_parse_result(row, given, [])
    except click.UsageError as error:
        raise UserError(f"{where}: {error.format_message()}") from error
    values = {flag: row.params.get(flag) for flag in flags}
    paths: dict[str, Any] = {
        flag: tuple(folder / path for path in found) if isinstance(values[flag], tuple)
        else folder / found[0]
        for flag in values if (found := paths_in(values[flag]))
    }  # fmt: skip
    return values | paths | name


def _words(option: Any, text: str) -> list[str]:
    """Spell a cell as the command line would; a flag may be said to be on or off."""
    flag = option.opts[0]
    # Click marks options that always take a value by a sentinel, or by None
    if option.is_flag or isinstance(option.flag_value, str):
        if text.lower() in ("0", "false", "no"):
            return []
        if text.lower() in ("1", "true", "yes"):
            return [flag]
    if option.multiple:
        return [word for part in text.split(";") for word in (flag, part.strip())]
    return [flag, *(text.split() if option.nargs > 1 else [text])]
