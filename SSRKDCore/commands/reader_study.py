"""`ssrkd reader-study`: a blinded questionnaire for readers as offline web pages, and its scores."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.evaluation.reader_study.questionnaire import Answer

HELP = "blinded questionnaires for readers, and their scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")

    make = jobs.add_parser("make", help="one offline web page a reader, and the key")
    make.add_argument("--cases", required=True, metavar="DIR", help="folder of cases with references, or one case")
    source = make.add_mutually_exclusive_group()
    source.add_argument(
        "--reconstructions",
        metavar="DIR",
        help="folder that holds a folder of bone surfaces for each case, named like it",
    )
    source.add_argument("--model", metavar="MODEL", help="reconstruct with this model (default: the shipped model)")
    make.add_argument("--resolution", type=int, metavar="N", help="with a model: samples along a side, 32 to 512 (256)")
    make.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), help="with a model (auto)")
    make.add_argument("--readers", nargs="+", required=True, metavar="NAME", help="their names, or how many they are")
    make.add_argument(
        "--seed", type=int, metavar="S", help="for codes and orders, to be kept as secret as the key (default: random)"
    )
    make.add_argument("--wording", metavar="FILE", help="translated copy of wording.json")
    make.add_argument("--out", required=True, metavar="DIR", help="new folder for the pages and key.json")
    make.add_argument("--overwrite", action="store_true", help="replace an existing output folder")

    score = jobs.add_parser("score", help="unblind the answers: means, agreement, paired test")
    score.add_argument("--study", required=True, metavar="DIR", help="folder that `make` wrote, with key.json")
    score.add_argument("--answers", nargs="+", required=True, metavar="FILE", help="answer files, one a reader")
    score.add_argument("--out", required=True, metavar="DIR", help="new folder for scores.json, tables and a plot")
    score.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    return _make(args) if args.job == "make" else _score(args)


def _make(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.cases import find_cases
    from SSRKDCore.errors import InputError
    from SSRKDCore.evaluation.reader_study.blinding import new_seed, reader_names
    from SSRKDCore.evaluation.reader_study.questionnaire import READERS_FOLDER, case_pictures, write_study
    from SSRKDCore.evaluation.reader_study.wording import load_wording
    from SSRKDCore.output_folder import check_output_folder
    from SSRKDCore.pictures.render import RenderingUnavailable

    check_output_folder(args.out, args.overwrite)
    readers, wording, folders = reader_names(args.readers), load_wording(args.wording), find_cases(args.cases)
    if args.seed is not None and args.seed < 0:
        raise InputError(f"The seed is {args.seed}: give a whole number from 0, or none.")
    seed = new_seed() if args.seed is None else args.seed
    answer, provenance = _answers(args)
    try:
        with progress_bar("reader study") as progress:
            cases = case_pictures(folders, answer, progress)
    except RenderingUnavailable as error:
        raise InputError(str(error)) from error
    key = write_study(args.out, cases, readers, seed, wording, provenance, args.overwrite)
    for item in cases:
        if item.words["missing_in_reconstruction"]:
            say(f"{item.case}: the reconstruction lacks {', '.join(item.words['missing_in_reconstruction'])}.")
        if item.words["left_out_of_both"]:
            say(
                f"{item.case}: the reference lacks {', '.join(item.words['left_out_of_both'])}, shown in neither version."
            )
    say(f"Study {key.study}: {len(cases)} cases in both versions, {len(readers)} readers.")
    say(f"Send each reader the one file in {args.out}/{READERS_FOLDER}/NAME. Keep {args.out}/key.json to yourself.")
    return {"study": key.study, "cases": list(key.cases), "readers": readers, "models_per_reader": 2 * len(cases)}


def _answers(args: argparse.Namespace) -> tuple[Answer, dict[str, Any]]:
    from SSRKDCore.errors import InputError
    from SSRKDCore.evaluation.reader_study.questionnaire import answers_in_folder

    if args.reconstructions is not None:
        if args.resolution is not None or args.device is not None:
            raise InputError("--resolution and --device go with a model, not with --reconstructions: leave them out.")
        return answers_in_folder(args.reconstructions), {"reconstructions": args.reconstructions}

    from SSRKDCore.evaluation.case_evaluation import case_reconstruction
    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.reconstruction.pipeline import RESOLUTIONS

    resolution = 256 if args.resolution is None else args.resolution
    if not RESOLUTIONS[0] <= resolution <= RESOLUTIONS[1]:
        raise InputError(
            f"The resolution is {resolution}: use a whole number from {RESOLUTIONS[0]} to {RESOLUTIONS[1]}."
        )
    model = load_model(args.model)
    words = {"model": model.name, "weights": model.card.get("weights"), "resolution": resolution}
    return case_reconstruction(model, resolution, args.device or "auto"), words


def _score(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.evaluation.reader_study.answers import read_answers
    from SSRKDCore.evaluation.reader_study.key import load_key
    from SSRKDCore.evaluation.reader_study.score_files import write_grades, write_plot, write_summary
    from SSRKDCore.evaluation.reader_study.scores import score
    from SSRKDCore.evaluation.reader_study.wording import shipped_wording
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import check_output_folder, complete_folder

    check_output_folder(args.out, args.overwrite)
    key = load_key(args.study)
    graded = read_answers(args.answers, key)
    scores = score(graded, key)
    with complete_folder(args.out, args.overwrite) as folder:
        write_grades(folder / "grades.csv", graded)
        write_summary(folder / "summary.csv", scores)
        write_plot(folder / "grades.png", scores, shipped_wording())
        write_json(folder / "scores.json", scores)
    _tell(scores, args.out)
    return scores


def _tell(scores: dict[str, Any], out: str) -> None:
    def figure(value: float | None, form: str = ".2f") -> str:
        return "-" if value is None else format(value, form)

    for reader, words in scores["readers"].items():
        if words["incomplete"]:
            names = ", ".join(item["code"] for item in words["incomplete"])
            say(f"{reader} left {len(words['incomplete'])} of {words['models']} models incomplete: {names}.")
    if scores["readers_without_answers"]:
        say(f"No answers of: {', '.join(scores['readers_without_answers'])}.")
    say(
        f"{'scale':<22} {'reference':>13} {'reconstruction':>15} {'p':>7} {'p (Holm)':>9} {'effect':>7} {'alpha':>6} {'ICC':>6}"
    )
    for scale, found in scores["scales"].items():
        cells = [f"{figure(summary['mean'])} ± {figure(summary['deviation'])}" for summary in found["overall"].values()]
        test, agreement = found["paired_test"], found["agreement"]["both"]
        say(
            f"{scale:<22} {cells[0]:>13} {cells[1]:>15} {figure(test['p'], '.3g'):>7} {figure(test['p_holm'], '.3g'):>9} "
            f"{figure(test['effect'], '+.2f'):>7} {figure(agreement['krippendorff_alpha']):>6} {figure(agreement['icc_2_1']):>6}"
        )
    say(f"Note: {scores['methods']['limits']}")
    say(f"Written to {out}: scores.json, summary.csv, grades.csv and grades.png.")
