"""Does each part of SSR-KD earn its place? Four students at equal budget: `python -m SSRKDCore.training.ablation`.

Labelled cases alone; with pseudo labels of unlabelled ones; with the teacher's features; with the bone-enhanced image. Steps, batch
size, samples, teacher and segmenter are the same for all; each is measured on legs that neither the shape model nor training saw.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.training.code_version import commit, today
from SSRKDCore.training.model_evaluation import evaluate_sets, mean_over_bones, summary
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.training.recipe import Workplace, read_recipe, run_command
from SSRKDCore.training.test_sets import unseen_legs

SCHEMA = "ssrkd-ablation/1"


def rows(batch: int) -> dict[str, dict[str, Any]]:
    """The changes of the X-ray settings that make each row; `batch` cases in a step, half of them unlabelled where any are."""
    alone = {"labelled_batch": batch, "unlabelled_batch": 0}
    half = {"labelled_batch": batch - batch // 2, "unlabelled_batch": batch // 2}
    return {
        "labelled only": {**alone, "pseudo_labels": False, "distillation": False, "enhancement": False},
        "+ pseudo labels": {**half, "pseudo_labels": True, "distillation": False, "enhancement": False},
        "+ distillation": {**half, "pseudo_labels": True, "distillation": True, "enhancement": False},
        "+ enhancement": {**half, "pseudo_labels": True, "distillation": True, "enhancement": True},
    }


def _folder_name(row: str) -> str:
    return row.replace("+ ", "with-").replace(" ", "-")


def train_row(place: Workplace, training: Mapping[str, Any], row: str, changes: Mapping[str, Any], out: Path) -> Path:
    """The model folder of one row, trained unless it is there already."""
    run = out / _folder_name(row)
    if not (run / "model" / "model.json").is_file():
        out.mkdir(parents=True, exist_ok=True)
        configuration = out / f"{run.name}.json"
        write_json(configuration, {**training, "xray": {**training.get("xray", {}), **changes}})
        run_command(
            "train", "xray", "--cases", place.population, "--samples", place.samples, "--config", configuration,
            "--teacher", place.model("ct"), "--segmenter", place.model("segmenter"), "--out", run,
        )  # fmt: skip
    return run / "model"


def measure(arguments: argparse.Namespace) -> None:
    """Train and measure the rows that are not there yet; the file is written after each."""
    recipe, place = read_recipe(arguments.config), Workplace(arguments.work)
    training = dict(recipe.training)
    training["xray"] = {**training.get("xray", {}), "steps": arguments.steps, "epochs": 0}
    batch = int(training["xray"].get("labelled_batch", 1)) + int(training["xray"].get("unlabelled_batch", 1))
    sets = unseen_legs(arguments.data, recipe.population["excluded_subjects"], place.test_cases)
    work = place.root / f"ablation-{arguments.steps}"
    result: dict[str, Any] = {
        "schema": SCHEMA, "unit": "mm", "command": "make ablation", "commit": commit(), "date": today(),
        "steps": arguments.steps, "cases_in_a_step": batch, "labelled_cases": recipe.population["labelled"],
        "unlabelled_cases": recipe.population["unlabelled"], "measured_on": [test_set.name for test_set in sets], "rows": {},
    }  # fmt: skip
    for row, changes in rows(batch).items():
        model = train_row(place, training, row, changes, work)
        reports = evaluate_sets(model, sets, work / f"{_folder_name(row)}-evaluation")
        result["rows"][row] = {
            "settings": changes,
            "training": read_json(model / "model.json", "a model description")["training"],
            "exact_assd_mm": {name: mean_over_bones(report, "exact_assd_mm") for name, report in reports.items()},
            "paper_assd_mm": {name: mean_over_bones(report, "paper_assd_mm") for name, report in reports.items()},
            "bones": {name: summary(report) for name, report in reports.items()},
        }
        write_json(arguments.out, result)


def main() -> int:
    """Train and measure the four rows; what is there already is kept. Writes one JSON file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="recipe whose population and stages are used")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="the recipe's folder")
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps of every row")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    return exit_code_of("ablation", lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
