"""How well guides made on reconstructions fit the real bones, over cases with a reference; every step is one of the program's commands.

`python -m SSRKDCore.planning.guide_study --cases DIR [DIR ...] --model MODEL --out DIR [--limit N] [--angle 8]`

A case is reconstructed, an osteotomy planned on the reconstruction, and a guide made from the plan. The control is a guide from the same
cut plane on the reference bones, of which no more is given than the field of view shows. Both are then seated on the whole reference
tibia. What is finished stays in `cases/` and `simulations/`, and the same command goes on from there; what failed is tried again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from SSRKDCore.console import say
from SSRKDCore.errors import InputError
from SSRKDCore.planning.guide_study_case import SIMULATIONS, StudySettings, case_name, run_command, study_case
from SSRKDCore.planning.guide_study_results import (
    picture_of_rows,
    summary_by_set,
    words_of_summary,
    write_study_rows,
)

SCHEMA = "ssrkd-guide-study/1"


def study(folders: Sequence[Path], out: Path, settings: StudySettings, command: str) -> dict[str, Any]:
    """Every case, then the tables of all: `study.json`, `cases.csv`, `guides.png` and `table/`; returns what study.json says.

    Raises InputError where `out` holds a study with other settings, or something else, and Cancelled.
    """
    from SSRKDCore.evaluation.experiments.result_log import ResultLog
    from SSRKDCore.json_files import write_json
    from SSRKDCore.training.code_version import made_by

    ResultLog(out, settings.to_dict())
    rows = []
    for index, folder in enumerate(folders):
        say(f"Case {index + 1} of {len(folders)}: {case_name(folder)}")
        rows.append(study_case(folder, out, settings))
        for step, reason in rows[-1].failures.items():
            say(f"Failed ({step}): {reason}")
    finished = [out / SIMULATIONS / f"{row.set_name}-{row.case}" for row in rows if row.report is not None]
    if finished:
        run_command("simulate-guide", "table", *finished, "--out", out / "table", "--overwrite")
    content: dict[str, Any] = {
        "schema": SCHEMA,
        **made_by(command),
        "model": {"path": settings.model} | settings.to_dict(),
        "cases": len(rows),
        "simulated": len(finished),
        "with_control": sum(row.report is not None and row.report["control"] is not None for row in rows),
        "rows": [row.to_dict() for row in rows],
        "summary": summary_by_set(rows),
    }
    write_study_rows(out / "cases.csv", rows)
    if finished:
        picture_of_rows(out / "guides.png", rows)
    write_json(out / "study.json", content)
    for line in words_of_summary(content["summary"]):
        say(line)
    return content


def main(words: Sequence[str] | None = None) -> int:
    """Guides made on reconstructions, and on the reference, seated on the reference bone, over cases; a stopped run goes on."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.evaluation.experiments.plot import check_matplotlib
    from SSRKDCore.networks.model_folder import SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY, load_model
    from SSRKDCore.training.code_version import command_of
    from SSRKDCore.training.program import exit_code_of

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", nargs="+", required=True, metavar="DIR", help="folders of cases with references")
    parser.add_argument("--model", required=True, help="folder of a model, or the name of a bundled one")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N cases of each folder (all)")
    parser.add_argument("--angle", type=float, default=8.0, metavar="DEGREES", help="opening of the wedge (8)")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along the field of view (256)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--starts", type=int, default=30, help="poses that simulate-guide presses from (30)")
    parser.add_argument("--samples", type=int, default=60, help="printed guides of its Monte Carlo (60)")
    arguments = parser.parse_args(words)

    def job() -> None:
        if arguments.limit is not None and arguments.limit < 1:
            raise InputError(f"--limit is {arguments.limit}: give at least one case of each folder.")
        check_matplotlib()
        folders = [case for folder in arguments.cases for case in find_cases(folder)[: arguments.limit]]
        card = load_model(arguments.model).card
        prior, correction = (
            (card.get(entry) or {}).get("sha256") for entry in (SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY)
        )
        settings = StudySettings(
            arguments.model,
            card["weights"]["sha256"],
            prior,
            correction,
            arguments.angle,
            arguments.resolution,
            arguments.device,
            arguments.starts,
            arguments.samples,
        )
        study(folders, arguments.out, settings, command_of("SSRKDCore.planning.guide_study", words))

    return exit_code_of("guide_study", job)


if __name__ == "__main__":
    sys.exit(main())
