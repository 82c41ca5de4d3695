"""How well the relative pose of two radiographs is known: its errors on simulated knees, and whether the stated uncertainty holds.

`python -m SSRKDCore.geometry.calibration.pair_study --cases CASES --model MODEL --work DIR --out DIR`

The second view of each knee is told wrongly by a pose drawn from the belief that `ssrkd calibrate pair` assumes, and brought back from
the two images (`pair_trials`). The factor by which the least-squares problem understates its errors is fitted on some knees: the first
ones (`--fit`), and for the shape model, from which these are drawn, also people who were left out of it (`--left-out`). The others, which
had no part in it, say whether the uncertainty that is stated with this factor holds. Finished trials are kept in `--work`, so that a run
that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.pair_study_page import page
from SSRKDCore.geometry.calibration.pair_trials import (
    KINDS,
    ROOMS,
    Array,
    Trial,
    TrialKnee,
    case_knee,
    room_knee,
    run_effect,
    run_trial,
)
from SSRKDCore.geometry.calibration.pose_estimate import (
    DEFAULT_SHIFT_SD,
    DEFAULT_TURN_SD,
    HEIGHT_LIMIT_MM,
    WIDENING,
    pose_covariance,
    with_slices,
)
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model

SCHEMA = "ssrkd-pair-study/2"
#: Sets that the factor is fitted to.
FITTING = ("fit", "people")
#: Of people left out: how many wrong poses each leg is told in each rig.
TRIALS_A_LEG = 2
# One factor is fitted to so few knees that finer steps would say nothing.
_FACTORS = np.arange(1.0, 10.01, 0.25)
_COVERAGE = 2.0


@dataclass(frozen=True)
class Job:
    """A trial to be made.

    Attributes
    ----------
    kind: one of KINDS. group: the set that it belongs to. name: of the knee, for people and files.
    seed: of the wrong pose. knee: reads or makes the knee. model: for people, with a shape prior that was made without this one.
    """

    kind: str
    group: str
    name: str
    seed: int
    knee: Callable[[], TrialKnee]
    model: Model


def _outline_covariance(trial: Trial, factor: float) -> Array:
    return pose_covariance(trial["information"], trial["parameter_sd"], factor) + np.diag(np.square(trial["spread"]))


def _covariance(trial: Trial, factor: float) -> Array:
    return with_slices(_outline_covariance(trial, factor), trial["slices"])


def fitted_factor(trials: Sequence[Trial]) -> float:
    """The widening under which the errors of these trials by outlines alone are the most likely, as draws from the normal distributions
    stated."""
    usable = [trial for trial in trials if "error" in trial]
    if len(usable) < 3:
        raise InputError(f"Only {len(usable)} trials gave a pose: use more cases to fit the uncertainty's factor.")

    def cost(factor: float) -> float:
        total = 0.0
        for trial in usable:
            covariance, error = _outline_covariance(trial, factor), trial["outline_error"]
            total += float(np.linalg.slogdet(covariance)[1] + error @ np.linalg.solve(covariance, error))
        return total

    return float(min(_FACTORS, key=cost))


def summary(trials: Sequence[Trial], factor: float) -> dict[str, Any]:
    """Errors and coverage of trials, slices included, with the uncertainty that a factor gives.

    Per direction: root mean square error before and after, mean of what is stated for 95 %, and in how many trials that held.
    `accepted` and `largest_height_error_mm` are those that `--height-limit` lets pass by default.
    """
    usable = [trial for trial in trials if "error" in trial]
    result: dict[str, Any] = {
        "trials": len(trials),
        "refused": sum("refused" in trial for trial in trials),
        "other_bones": sum("other_bones" in trial for trial in trials),
    }
    if not usable:
        return result
    before, outlines, error = (
        np.array([trial[key] for trial in usable]) for key in ("before", "outline_error", "error")
    )
    stated = _COVERAGE * np.sqrt([np.diag(_covariance(trial, factor)) for trial in usable])
    held = np.abs(error) <= stated
    heights = stated[:, 5] <= HEIGHT_LIMIT_MM
    result |= {
        "directions": {
            name: {
                "before_rms": float(np.sqrt(np.mean(before[:, i] ** 2))),
                "by_outlines_rms": float(np.sqrt(np.mean(outlines[:, i] ** 2))),
                "after_rms": float(np.sqrt(np.mean(error[:, i] ** 2))),
                "stated_95_mean": float(stated[:, i].mean()),
                "held": int(held[:, i].sum()),
            }
            for i, name in enumerate(POSE_NAMES)
        },
        "with_slices": sum(bool(np.any(trial["slices"])) for trial in usable),
        "held_share": float(held.mean()),
        "accepted": int(heights.sum()),
        "largest_height_error_mm": float(np.abs(error[heights, 5]).max()) if heights.any() else None,
    }
    effects = np.array([trial["effect"] for trial in usable if "effect" in trial])
    if len(effects):
        result["mean_exact_assd_mm"] = {
            "knees": len(effects),
            "better_than_believed_as_a_knee": int((effects[:, 1, 1] < effects[:, 0, 1]).sum()),
            **{
                name: {
                    "in_place": float(np.nanmean(effects[:, i, 0])),
                    "as_a_knee": float(np.nanmean(effects[:, i, 1])),
                }
                for i, name in enumerate(("as_believed", "as_estimated", "true_rig"))
            },
        }
    return result


def _kept(path: Path, make: Callable[[], Mapping[str, Any]]) -> Trial:
    """A trial from `path`, made and written there where it is not yet."""
    if not path.is_file():
        made = make()
        beside = path.with_suffix(".part.npz")
        np.savez(beside, **made)
        beside.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        return {name: str(stored[name]) if name == "refused" else np.asarray(stored[name]) for name in stored.files}


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the trials, fit the factors, and write pair.json and README.md."""
    from SSRKDCore.console import progress_bar, say
    from SSRKDCore.json_files import write_json
    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.training.code_version import command_of, made_by

    arguments = _arguments(words)
    check_output_folder(arguments.out, arguments.overwrite)
    model, work = load_model(arguments.model), Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    jobs = [*_case_jobs(arguments, model), *_room_jobs(arguments, model), *_people_jobs(arguments, model)]
    found: dict[str, dict[str, list[Trial]]] = {kind: {} for kind in KINDS}
    names: dict[str, list[str]] = {}
    with progress_bar("relative pose") as progress:
        for done, job in enumerate(jobs):
            progress(done / len(jobs), f"{job.kind.replace('_', ' ')}, {job.name}")
            path = work / f"{job.kind}-{job.name.replace('/', '-').replace(' ', '-')}-{job.seed}.npz"
            trial = _kept(path, partial(_tried, job))
            if job.kind != "known" and job.group == "check" and "error" in trial:
                trial = {**trial, **_kept(path.with_suffix(".effect.npz"), partial(_effect, job, trial))}
            found[job.kind].setdefault(job.group, []).append(trial)
            names.setdefault(job.group, [])
            if job.name not in names[job.group]:
                names[job.group].append(job.name)
    fitted = {kind: _fitted(found[kind]) for kind in KINDS}
    # A few knees that happened to be easy are no reason to be surer than before.
    factors = {kind: max(*of_kind.values(), WIDENING[kind]) for kind, of_kind in fitted.items()}
    # Bones that a network bends to the images cannot make a pose surer than known ones.
    factors["reconstructed"] = max(factors["known"], factors["reconstructed"])
    report = {
        "schema": SCHEMA,
        **made_by(command_of("SSRKDCore.geometry.calibration.pair_study", words)),
        "model": {"name": model.name, "weights_sha256": model.card["weights"]["sha256"]},
        "belief": {"turn_sd_degrees": DEFAULT_TURN_SD, "shift_sd_mm": DEFAULT_SHIFT_SD},
        "height_limit_mm": HEIGHT_LIMIT_MM,
        "cases": names,
        "widening": factors,
        "fitted_widening": fitted,
        "results": {
            kind: {name: summary(trials, factors[kind]) for name, trials in found[kind].items()} for kind in KINDS
        },
    }
    with complete_folder(arguments.out, arguments.overwrite) as folder:
        write_json(folder / "pair.json", report)
        (folder / "README.md").write_text(page(report), encoding="utf-8")
    say(f"Widening: {factors}; they belong into WIDENING of pose_estimate.py. Written: {arguments.out}")
    return report


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", required=True, help="folder of cases with two radiographs and the true bones")
    parser.add_argument("--other", help="folder of further cases, of another kind, for the check alone")
    parser.add_argument("--fit", type=int, default=10, metavar="N", help="knees that fit the factor (10)")
    parser.add_argument("--check", type=int, default=10, metavar="N", help="the next knees, which check it (10)")
    parser.add_argument(
        "--reconstructed",
        type=int,
        metavar="N",
        help="knees of each set that the network's own bones are tried on too, which is slow (all)",
    )
    parser.add_argument(
        "--ct-cases", type=Path, help="folder of labelled cases with CTs, seen in other rooms, for the check alone"
    )
    parser.add_argument(
        "--rooms", type=int, default=12, metavar="N", help="knees that are seen in each kind of room (12)"
    )
    parser.add_argument("--left-out", type=Path, help="work folder of trust.left_out_people; with --data")
    parser.add_argument("--data", type=Path, help="the anatomy folder that the model was made from")
    parser.add_argument("--model", metavar="MODEL", help="model folder or name (the bundled one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", required=True, help="folder where finished trials are kept")
    parser.add_argument("--out", required=True, help="folder for pair.json and README.md")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    arguments = parser.parse_args(words)
    reconstructed = 3 if arguments.reconstructed is None else arguments.reconstructed
    if arguments.fit < 3 or arguments.check < 1 or arguments.rooms < 1 or reconstructed < 3:
        parser.error("give at least three knees to fit, one to check, and one a room.")
    if (arguments.left_out is None) != (arguments.data is None):
        parser.error("people are left out with both --left-out and --data.")
    return arguments


def _case_jobs(arguments: argparse.Namespace, model: Model) -> list[Job]:
    """Of all kinds; one knee of each set in turn, so that a run that is stopped and asked for fewer has some of each."""
    from SSRKDCore.cases import find_cases

    folders = find_cases(arguments.cases)
    if len(folders) < arguments.fit + arguments.check:
        raise InputError(f"{arguments.cases} has {len(folders)} cases: ask for fewer with --fit and --check.")
    sets = {"fit": folders[: arguments.fit], "check": folders[arguments.fit : arguments.fit + arguments.check]}
    if arguments.other:
        sets["other"] = find_cases(arguments.other)
    most = {"known": None, "reconstructed": arguments.reconstructed, "shape_model": None}
    places = sorted(
        ((kind, name, index) for kind in KINDS for name in sets for index in range(len(sets[name][: most[kind]]))),
        key=lambda place: (KINDS.index(place[0]), place[2]),
    )
    jobs: list[Job] = []
    for kind, name, index in places:
        folder = sets[name][index]
        # Each knee has its own wrong pose, the same for all kinds.
        seed = arguments.seed + 1000 * list(sets).index(name) + index
        jobs.append(Job(kind, name, f"{folder.parent.name}/{folder.name}", seed, partial(case_knee, folder), model))
    return jobs


def _room_jobs(arguments: argparse.Namespace, model: Model) -> list[Job]:
    from SSRKDCore.trust.training_observation import labelled_folders

    if arguments.ct_cases is None:
        return []
    jobs: list[Job] = []
    for kind in ("known", "shape_model"):
        for room, group in enumerate(ROOMS):
            for index, folder in enumerate(labelled_folders(arguments.ct_cases)[: arguments.rooms]):
                seed = arguments.seed + 10000 + 1000 * room + index
                knee = partial(room_knee, folder, room, arguments.seed, index)
                jobs.append(Job(kind, group, f"{folder.parent.name}/{folder.name} {group}", seed, knee, model))
    return jobs


def _people_jobs(arguments: argparse.Namespace, model: Model) -> list[Job]:
    """Legs of each person of the shape prior in each rig, with a prior that was made without them."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.training.test_sets import RIGS, unseen_legs
    from SSRKDCore.trust.left_out_people import model_without, people_to_leave_out

    if arguments.left_out is None:
        return []
    jobs: list[Job] = []
    for person in people_to_leave_out(model, arguments.data):
        without = model_without(model, person, arguments.data, arguments.left_out)
        sets = unseen_legs(arguments.data, [person], arguments.left_out / "cases" / person)
        for rig, group in zip(RIGS, sets, strict=True):
            for folder in find_cases(group.folder):
                for _ in range(TRIALS_A_LEG):
                    seed = arguments.seed + 20000 + len(jobs)
                    name = f"{folder.name} {rig}"
                    jobs.append(Job("shape_model", "people", name, seed, partial(case_knee, folder), without))
    return jobs


def _tried(job: Job) -> dict[str, Any]:
    return run_trial(job.knee(), job.kind, job.model, job.seed)


def _effect(job: Job, trial: Trial) -> dict[str, Array]:
    return run_effect(job.knee(), trial, job.model, job.seed)


def _fitted(found: Mapping[str, Sequence[Trial]]) -> dict[str, float]:
    """The factor that each set of FITTING asks for."""
    return {name: fitted_factor(found[name]) for name in FITTING if name in found}


if __name__ == "__main__":
    main()
