"""`ssrkd experiment`: the paper's figures and further questions, on given cases."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.evaluation.experiments.framework import Plan
    from SSRKDCore.evaluation.experiments.registry import Request
    from SSRKDCore.evaluation.experiments.training_points import TrainingPlace
    from SSRKDCore.evaluation.methods import Method

HELP = "repeat one of the paper's figures, or a test beyond them, on given cases"

_TRAINING_OPTIONS = ("config", "work", "steps", "helper_steps", "helpers", "labelled", "unlabelled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="which experiment; --list names them")
    parser.add_argument("--list", action="store_true", help="name the experiments, one line each, and stop")
    parser.add_argument(
        "--model", metavar="MODEL", help="model folder, or the name of a bundled model (default: the shipped model)"
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="[ROW:]KIND=PATH",
        help="instead of --model: a method of kind model, network (a model without refinement), ssm, ssim or volume-cnn; the experiment "
        "'table' takes several, in order",
    )
    parser.add_argument("--cases", type=Path, metavar="DIR", help="folder of cases, or one case")
    parser.add_argument("--data", type=Path, metavar="DIR", help="anatomy folder, for 'external'")
    parser.add_argument(
        "--shape-model", type=Path, metavar="FILE", help="what `ssrkd shape-model` wrote, for flexion, size, error-map"
    )
    parser.add_argument(
        "--match-style",
        type=Path,
        metavar="FILE",
        help="what `ssrkd style-reference` wrote: one more remedy of degradations",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results; a run that was ended goes on")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N knees, the same for every point")
    parser.add_argument("--points", nargs="+", metavar="POINT", help="only these points, by their names in table.csv")
    parser.add_argument(
        "--resolution", type=int, default=128, metavar="N", help="samples along a side of the cube, 32 to 512 (128)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the networks run (auto: a GPU where torch sees one)",
    )
    training = parser.add_argument_group(
        "learning-curve-labelled, learning-curve-unlabelled, parts, views, two-sites: what is trained",
        "two-sites with --model trains no students, and needs --config and --work only",
    )
    training.add_argument("--config", type=Path, metavar="FILE", help="recipe whose stages are used")
    training.add_argument("--work", type=Path, metavar="DIR", help="the recipe's folder, with its samples")
    training.add_argument("--steps", type=int, metavar="N", help="optimiser steps of every student")
    training.add_argument("--helper-steps", type=int, metavar="N", help="of teacher and segmenter (the recipe's)")
    training.add_argument(
        "--helpers",
        choices=("own", "recipe"),
        help="train teacher and segmenter on each point's own labelled cases (default), or take the recipe's",
    )
    training.add_argument(
        "--labelled",
        type=int,
        nargs="+",
        metavar="N",
        help="labelled cases of the points; one number for all where they are not the curve's",
    )
    training.add_argument("--unlabelled", type=int, nargs="+", metavar="N", help="unlabelled cases, likewise")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the experiment, or what is left of it; returns the content of its report.json."""
    from SSRKDCore.evaluation.experiments.registry import EXPERIMENTS

    if args.list or args.name == "list":
        for name, (_, words) in EXPERIMENTS.items():
            say(f"{name:<26} {words}")
        return {"experiments": {name: words for name, (_, words) in EXPERIMENTS.items()}}
    _check(args)

    from SSRKDCore.evaluation.evaluation_run import unlabelled_words
    from SSRKDCore.evaluation.experiments.experiment_files import write_experiment
    from SSRKDCore.evaluation.experiments.framework import check_plan, plan_settings, point_results, run_plan
    from SSRKDCore.evaluation.experiments.plot import check_matplotlib
    from SSRKDCore.evaluation.experiments.registry import Request, load_experiment
    from SSRKDCore.evaluation.experiments.result_log import ResultLog

    check_matplotlib()
    training = _training(args)
    make_plan, finish = load_experiment(args.name)
    methods = _methods(args) if training is None or args.model is not None else {}
    request = Request(
        args.cases, args.data, args.shape_model, args.limit, args.seed, methods, args.points, training, args.match_style
    )
    plan = _chosen(make_plan(request), request)
    if unlabelled := request.unlabelled_count():
        plan = replace(plan, notes=(*plan.notes, unlabelled_words(unlabelled)))
    check_plan(plan)
    words = (
        ", ".join(_row_words(row, chosen) for row, chosen in methods.items())
        if methods or training is None
        else training.budget
    )
    settings = {
        "experiment": args.name,
        "methods": {row: dict(chosen.settings) for row, chosen in methods.items()},
        "resolution": args.resolution,
        **plan_settings(plan, args.seed),
    }
    # Files of what is observed are numbered by the points of one run.
    growing = plan.observe is None
    log = ResultLog(args.out, settings, () if training is None else (training.out.name,), growing)
    if log.replaced:
        say(f"{log.replaced} results were of points or cases that have changed since, and are computed again.")
    if log.records:
        there = len(point_results(plan, log))
        say(f"{there} of {len(plan.points) * len(plan.sources)} results are there already.")
    with progress_bar(args.name) as progress:
        method = next((chosen.reconstruct for chosen in methods.values()), None)
        results = run_plan(plan, method, log, args.seed, progress)
    report = write_experiment(args.out, args.name, request, plan, results, settings, words, _command(args), finish)
    _tell(report, plan, request, args.out)
    return report


def _check(args: argparse.Namespace) -> None:
    from SSRKDCore.commands.evaluate import check_resolution
    from SSRKDCore.errors import InputError

    if args.name is None:
        raise InputError("Name an experiment: `ssrkd experiment --list` says which there are.")
    if args.out is None:
        raise InputError("Say where the results shall be with --out.")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit is {args.limit}: use at least 1.")
    if args.seed < 0:
        raise InputError(f"The seed is {args.seed}: it must not be negative.")
    if args.match_style is not None and args.name != "degradations":
        raise InputError("--match-style is a remedy of the experiment 'degradations': leave it out.")
    if args.model is not None and args.method and args.name != "table":
        raise InputError("--model and --method both say what reconstructs: leave one of them out.")
    if len(args.method) > 1 and args.name != "table":
        raise InputError("Only the experiment 'table' takes several methods: name one.")
    check_resolution(args.resolution)


def _methods(args: argparse.Namespace) -> dict[str, Method]:
    """Row -> method, a --model first."""
    from SSRKDCore.errors import InputError
    from SSRKDCore.evaluation.methods import load_method, parsed_method

    found: dict[str, Method] = {}
    if args.model is not None or not args.method:
        method = load_method("model", args.model, args.resolution, args.device)
        found[method.name] = method
    for words in args.method:
        row, kind, path = parsed_method(words)
        if row in found:
            raise InputError(f"Two methods are named '{row}': give each a name, as in FIRST:{kind}=PATH.")
        found[row] = load_method(kind, path, args.resolution, args.device)
    return found


def _row_words(row: str, method: Method) -> str:
    return row if row == method.name else f"{row} ({method.name})"


def _chosen(plan: Plan, request: Request) -> Plan:
    """The plan with the wanted points only. Raises InputError for a name that it does not have."""
    if request.training is not None:
        return plan
    wanted = request.wanted([point.name for point in plan.points])
    return replace(plan, points=[point for point in plan.points if point.name in wanted])


def _training(args: argparse.Namespace) -> TrainingPlace | None:
    """Where students are trained, for the experiments that do. Raises InputError for options that are missing or too many."""
    from SSRKDCore.errors import InputError
    from SSRKDCore.evaluation.experiments.registry import TAKES_MODEL, TRAINED

    given = [option for option in _TRAINING_OPTIONS if getattr(args, option) is not None]
    if args.name not in TRAINED:
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')} is for experiments that train ({', '.join(TRAINED)}): leave it out."
            )
        return None
    with_model = args.model is not None and args.name in TAKES_MODEL
    needed = ("config", "work") if with_model else ("config", "work", "steps")
    missing = [f"--{option}" for option in needed if option not in given]
    if missing:
        what = "trains on the samples of a recipe" if with_model else "trains students"
        raise InputError(f"The experiment '{args.name}' {what} and needs {', '.join(missing)}: add what is missing.")
    if args.method or (args.model is not None and not with_model):
        raise InputError(f"The experiment '{args.name}' trains what it measures: leave --model and --method out.")
    if with_model and (students := [option for option in given if option not in needed]):
        raise InputError(
            f"--{students[0].replace('_', '-')} is of students, and a given model takes their place: leave it or --model out."
        )

    from SSRKDCore.evaluation.experiments.result_log import SETTINGS_FILE, check_free
    from SSRKDCore.evaluation.experiments.training_points import TRAINING_FOLDER, TrainingPlace
    from SSRKDCore.json_files import read_json
    from SSRKDCore.training.recipe import Workplace, read_recipe

    settings = args.out / SETTINGS_FILE
    # Before hours of training, and not after them.
    if not settings.is_file():
        check_free(args.out, (TRAINING_FOLDER,))
    elif read_json(settings, "the settings of a run").get("experiment") != args.name:
        raise InputError(f"{args.out} holds another experiment: choose another output folder.")
    return TrainingPlace(
        read_recipe(args.config), Workplace(args.work), args.out / TRAINING_FOLDER, args.steps or 0, args.helper_steps or 0,
        args.helpers or "own", args.seed, tuple(args.labelled or ()), tuple(args.unlabelled or ()), args.resolution, args.device,
    )  # fmt: skip


def _command(args: argparse.Namespace) -> str:
    """The command line that makes the same results."""
    import shlex

    words = ["ssrkd", "experiment", args.name]
    for option in ("model", "cases", "data", "shape_model", "match_style", "out", "limit", "resolution", "seed"):
        value = getattr(args, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", str(value)]
    for method in args.method:
        words += ["--method", method]
    for option in _TRAINING_OPTIONS:
        value = getattr(args, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    if args.points:
        words += ["--points", *args.points]
    return shlex.join(words)


def _tell(report: dict[str, Any], plan: Plan, request: Request, out: Path) -> None:
    from SSRKDCore.evaluation.table_one import ALL_BONES

    wide = max(24, *(len(name) + 2 for name in report["tables"]))
    say(f"{'point':<{wide}}{'exact ASSD, mean of all bones':>32}{'95 % interval':>20}{'scored':>9}{'failed':>8}")
    for name, table in report["tables"].items():
        row = table[ALL_BONES]
        figures = row["exact_assd_mm"]
        mean = "-" if figures is None else f"{figures['mean']:.3f}"
        known = figures is not None and figures["low"] is not None
        interval = f"{figures['low']:.3f} to {figures['high']:.3f}" if known else "-"
        say(f"{name:<{wide}}{mean:>32}{interval:>20}{row['scored']:9d}{row['failed']:8d}")
    for failure in report["failures"]:
        say(f"{failure['case']}, {failure['point']}: {failure['reason']}")
    for note in plan.notes:
        say(note)
    say(f"{report['budget']}.")
    say(f"Written to {out}: report.json, results.csv, table.csv and pictures.")
