"""How well the relative pose of two radiographs is known: its errors on synthetic knees, and whether the stated uncertainty holds.

`python -m SSRKDCore.geometry.calibration.pair_study --cases CASES --model MODEL --work DIR --out DIR`

The second view of each case is told wrongly by a pose drawn from the belief that `ssrkd calibrate pair` assumes, and brought back from
the two images. The factor by which the least-squares problem understates its errors is fitted on the first knees (`--fit`); the others,
which had no part in it, say whether the uncertainty that is stated with this factor holds. Finished trials are kept in `--work`, so that a
run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.pair_study_page import page
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES, pose_between, pose_matrix
from SSRKDCore.geometry.calibration.pose_rounds import DEFAULT_RESOLUTION, pose_by_reconstruction
from SSRKDCore.geometry.calibration.relative_pose import (
    DEFAULT_SHIFT_SD,
    DEFAULT_TURN_SD,
    HEIGHT_LIMIT_MM,
    WIDENING,
    RelativePose,
    pose_covariance,
    relative_pose,
)
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View

if TYPE_CHECKING:
    from SSRKDCore.cases import Case
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.radiograph import Radiograph

Array = NDArray[np.float64]
#: What is kept of a trial; see `run_trial`.
Trial = Mapping[str, Any]

SCHEMA = "ssrkd-pair-study/1"
KINDS = ("known", "reconstructed")
# One factor is fitted to so few knees that finer steps would say nothing.
_FACTORS = np.arange(1.0, 10.01, 0.25)
_COVERAGE = 2.0


def told_wrongly(rig: Rig, pose: Array) -> Rig:
    """The rig with its second view where a belief has it that is wrong by `pose` (6,), POSE_NAMES about the view's own axes."""
    view, center = rig.views[1], np.array(rig.field_of_view.center)
    moved = view.transformed(np.linalg.inv(pose_matrix(pose, _axes(view), center)))
    return Rig((rig.views[0], moved), rig.field_of_view, rig.provenance)


def _axes(view: View) -> Array:
    return np.stack([view.normal, view.column_direction, view.row_direction])


def run_trial(folder: Path, kind: str, model: Model, seed: int) -> dict[str, Any]:
    """One knee with its second view told wrongly.

    Parameters
    ----------
    folder: a case with radiographs of two views and the true bones. kind: one of KINDS: where the bones' shape comes from.
    seed: of the wrong pose.

    Returns arrays: before, error (6,), information, parameter_sd and spread; or before and `refused`, the sentence.
    """
    from SSRKDCore.evaluation.case_evaluation import reference_surfaces

    case, radiographs = _loaded(folder)
    wrong = _believed(case, seed)
    try:
        found = _estimated(kind, case, radiographs, wrong, model, reference_surfaces(case), seed)
    except InputError as error:
        return {"before": _away(wrong, case), "refused": str(error)}
    return {
        "before": _away(wrong, case),
        "error": _away(found.rig, case, wrong),
        "information": found.information,
        "parameter_sd": found.parameter_sd,
        "spread": found.start_spread,
    }


def run_effect(folder: Path, trial: Trial, model: Model, seed: int) -> dict[str, Array]:
    """What a trial's pose does to a reconstruction.

    Returns `effect` (3, 2): mean exact ASSD in mm over the bones, with the rig as believed, as estimated and as it is; the bones where
    they are, and moved onto the true knee as a whole, since both views shifted alike put the knee elsewhere and leave it as it is.
    """
    case, radiographs = _loaded(folder)
    wrong, truth = _believed(case, seed), case.rig.views[1]
    axes, center = _axes(wrong.views[1]), np.array(case.rig.field_of_view.center)
    estimated = truth.transformed(np.linalg.inv(pose_matrix(trial["error"], axes, center)))
    rigs = (wrong, Rig((case.rig.views[0], estimated), case.rig.field_of_view), case.rig)
    return {"effect": np.array([_distances(case, radiographs, rig, model) for rig in rigs])}


def _loaded(folder: Path) -> tuple[Case, list[Radiograph]]:
    from SSRKDCore.cases import load_case
    from SSRKDCore.radiographs import read_radiograph

    case = load_case(folder)
    if len(case.rig.views) != 2:
        raise InputError(f"{folder} has {len(case.rig.views)} views: use cases with two.")
    return case, [read_radiograph(case.radiographs[view.name], view.name, case.intensity) for view in case.rig.views]


def _believed(case: Case, seed: int) -> Rig:
    """The case's rig as it is told, wrongly by a draw from the belief."""
    prior = np.array([DEFAULT_TURN_SD] * 3 + [DEFAULT_SHIFT_SD] * 3)
    return told_wrongly(case.rig, np.random.default_rng(seed).normal(0.0, prior))


def _away(rig: Rig, case: Case, frame: Rig | None = None) -> Array:
    """(6,) from a rig's second view to the true one, about the axes of the second view of `frame` (of `rig` itself)."""
    axes = _axes((frame or rig).views[1])
    return pose_between(rig.views[1], case.rig.views[1], axes, np.array(case.rig.field_of_view.center))


def _estimated(
    kind: str,
    case: Case,
    radiographs: list[Radiograph],
    wrong: Rig,
    model: Model,
    bones: Mapping[str, Any],
    seed: int,
) -> RelativePose:
    """The pose as `ssrkd calibrate pair` estimates it, whatever its uncertainty."""
    if kind == "known":
        images = {view.name: found.pixels for view, found in zip(case.rig.views, radiographs, strict=True)}
        return relative_pose(bones, images, wrong, starts=1, seed=seed, height_limit_mm=np.inf)
    return pose_by_reconstruction(radiographs, wrong, model, starts=1, seed=seed, height_limit_mm=np.inf)


def _distances(case: Case, radiographs: list[Radiograph], rig: Rig, model: Model) -> tuple[float, float]:
    """Mean exact ASSD in mm over the bones that are found, the rig taken as given: in place, and aligned as a knee."""
    from SSRKDCore.evaluation.alignment import aligned
    from SSRKDCore.evaluation.case_evaluation import reference_surfaces
    from SSRKDCore.evaluation.exact_distances import surface_distances
    from SSRKDCore.reconstruction.pipeline import reconstruct

    result = reconstruct(radiographs, rig, model, DEFAULT_RESOLUTION, check_view_order=False)
    box, margin = result.field_of_view.bounds, max(result.grid.spacing)
    truth = reference_surfaces(case)
    found = {name: result.surfaces[name] for name in truth if not result.surfaces[name].is_empty}
    moved, _ = aligned(found, truth, "knee", box, margin)
    in_place, as_knee = (
        [surface_distances(surfaces[name], truth[name], box, margin).assd for name in found] or [float("nan")]
        for surfaces in (found, moved)
    )
    return float(np.mean(in_place)), float(np.mean(as_knee))


def _covariance(trial: Trial, factor: float) -> Array:
    return pose_covariance(trial["information"], trial["parameter_sd"], factor) + np.diag(np.square(trial["spread"]))


def fitted_factor(trials: Sequence[Trial]) -> float:
    """The widening under which the errors of these trials are the most likely, as draws from the normal distributions stated."""
    usable = [trial for trial in trials if "error" in trial]
    if len(usable) < 3:
        raise InputError(f"Only {len(usable)} trials gave a pose: use more cases to fit the uncertainty's factor.")

    def cost(factor: float) -> float:
        total = 0.0
        for trial in usable:
            covariance = _covariance(trial, factor)
            total += float(
                np.linalg.slogdet(covariance)[1] + trial["error"] @ np.linalg.solve(covariance, trial["error"])
            )
        return total

    return float(min(_FACTORS, key=cost))


def summary(trials: Sequence[Trial], factor: float) -> dict[str, Any]:
    """Errors and coverage of trials with the uncertainty that a factor gives.

    Per direction: root mean square error before and after, mean of what is stated for 95 %, and in how many trials that held.
    `accepted` and `largest_height_error_mm` are those that `--height-limit` lets pass by default.
    """
    usable = [trial for trial in trials if "error" in trial]
    result: dict[str, Any] = {"trials": len(trials), "refused": len(trials) - len(usable)}
    if not usable:
        return result
    before, error = (np.array([trial[key] for trial in usable]) for key in ("before", "error"))
    stated = _COVERAGE * np.sqrt([np.diag(_covariance(trial, factor)) for trial in usable])
    held = np.abs(error) <= stated
    heights = stated[:, 5] <= HEIGHT_LIMIT_MM
    result |= {
        "directions": {
            name: {
                "before_rms": float(np.sqrt(np.mean(before[:, i] ** 2))),
                "after_rms": float(np.sqrt(np.mean(error[:, i] ** 2))),
                "stated_95_mean": float(stated[:, i].mean()),
                "held": int(held[:, i].sum()),
            }
            for i, name in enumerate(POSE_NAMES)
        },
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
    from SSRKDCore.cases import find_cases
    from SSRKDCore.console import progress_bar, say
    from SSRKDCore.json_files import write_json
    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.training.code_version import command_of, made_by

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", required=True, help="folder of cases with two radiographs and the true bones")
    parser.add_argument("--other", help="folder of further cases, of another kind, for the check alone")
    parser.add_argument("--fit", type=int, default=10, metavar="N", help="knees that fit the factor (10)")
    parser.add_argument("--check", type=int, default=10, metavar="N", help="the next knees, which check it (10)")
    parser.add_argument(
        "--reconstructed",
        type=int,
        metavar="N",
        help="knees of each set whose bones are reconstructed too, which is slow (all)",
    )
    parser.add_argument("--model", metavar="MODEL", help="model folder or name (the bundled one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", required=True, help="folder where finished trials are kept")
    parser.add_argument("--out", required=True, help="folder for pair.json and README.md")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    arguments = parser.parse_args(words)
    if arguments.fit < 3 or arguments.check < 1 or (arguments.reconstructed or 3) < 3:
        parser.error("give at least three knees to fit and one to check.")
    check_output_folder(arguments.out, arguments.overwrite)
    folders = find_cases(arguments.cases)
    if len(folders) < arguments.fit + arguments.check:
        raise InputError(f"{arguments.cases} has {len(folders)} cases: ask for fewer with --fit and --check.")
    sets = {"fit": folders[: arguments.fit], "check": folders[arguments.fit : arguments.fit + arguments.check]}
    if arguments.other:
        sets["other"] = find_cases(arguments.other)
    model, work = load_model(arguments.model), Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, list[Trial]]] = {kind: {name: [] for name in sets} for kind in KINDS}
    most = {"known": None, "reconstructed": arguments.reconstructed}
    # One knee of each set in turn, so that a run that is stopped and asked for fewer has some of each.
    jobs = sorted(
        ((kind, name, index) for kind in KINDS for name in sets for index in range(len(sets[name][: most[kind]]))),
        key=lambda job: (KINDS.index(job[0]), job[2]),
    )
    with progress_bar("relative pose") as progress:
        for done, (kind, name, index) in enumerate(jobs):
            folder = sets[name][index]
            progress(done / len(jobs), f"{kind} bones, {folder.parent.name}/{folder.name}")
            # Each knee has its own wrong pose, the same for both kinds.
            seed = arguments.seed + 1000 * list(sets).index(name) + index
            path = work / f"{kind}-{folder.parent.name}-{folder.name}-{seed}.npz"
            trial = _kept(path, partial(run_trial, folder, kind, model, seed))
            if kind == "reconstructed" and name == "check" and "error" in trial:
                effect = partial(run_effect, folder, trial, model, seed)
                trial = {**trial, **_kept(path.with_suffix(".effect.npz"), effect)}
            found[kind][name].append(trial)
    fitted = {kind: fitted_factor(found[kind]["fit"]) for kind in KINDS}
    # A few knees that happened to be easy are no reason to be surer than those before them were.
    factors = {kind: max(fitted[kind], WIDENING[kind]) for kind in KINDS}
    # Bones that had to be reconstructed first cannot make a pose surer than known ones.
    factors["reconstructed"] = max(factors.values())
    report = {
        "schema": SCHEMA,
        **made_by(command_of("SSRKDCore.geometry.calibration.pair_study", words)),
        "model": {"name": model.name, "weights_sha256": model.card["weights"]["sha256"]},
        "belief": {"turn_sd_degrees": DEFAULT_TURN_SD, "shift_sd_mm": DEFAULT_SHIFT_SD},
        "height_limit_mm": HEIGHT_LIMIT_MM,
        "cases": {
            name: [f"{folder.parent.name}/{folder.name}" for folder in folders] for name, folders in sets.items()
        },
        "widening": factors,
        "fitted_widening": fitted,
        "results": {
            kind: {name: summary(trials, factors[kind]) for name, trials in found[kind].items()} for kind in KINDS
        },
    }
    with complete_folder(arguments.out, arguments.overwrite) as folder:
        write_json(folder / "pair.json", report)
        (folder / "README.md").write_text(page(report), encoding="utf-8")
    say(f"Widening: {factors}; they belong into WIDENING of relative_pose.py. Written: {arguments.out}")
    return report


if __name__ == "__main__":
    main()
