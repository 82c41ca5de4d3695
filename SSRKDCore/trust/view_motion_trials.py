"""Knees whose second view is misstated on purpose, and what `refinement.view_motion` says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.cases import find_cases, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.experiments.result_log import ResultLog
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.refinement.view_motion import turned_second_view
from SSRKDCore.training.case_volume import load_case_volume
from SSRKDCore.training.test_sets import RIGS, unseen_legs
from SSRKDCore.trust.left_out_people import model_without, people_to_leave_out
from SSRKDCore.trust.other_rooms import exposure_in_another_room
from SSRKDCore.trust.reference import model_identity
from SSRKDCore.trust.training_images import TrainingExposure, exposure_of_volume
from SSRKDCore.trust.training_observation import RESOLUTION, case_images

Progress = Callable[[float, str], None]

#: How the images of a population's knees look: as they are, after training's changes, in usual rooms, and in worse ones.
LOOKS = ("plain", "changed", "usual rooms", "bad rooms")
#: What a person's legs are called in records.
PEOPLE = "people left out"
#: How far angle and roll are misstated at most, degrees; every third pair is stated rightly.
MISSTATED_DEGREES = (15.0, 8.0)
TRIALS_A_LOOK, TRIALS_A_LEG = 2, 4
#: Goes up when what is kept of a trial changes: records of an earlier number are not gone on from.
_VERSION = 3


def population_trials(
    model: Model,
    folders: Sequence[Path],
    work: Path,
    seed: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[dict[str, Any]]:
    """TRIALS_A_LOOK trials of each case in each of LOOKS, see `trial`.

    folders: labelled cases with CTs, which the networks were not trained on. work: folder that keeps what is done, to go on from there.
    Raises InputError, Cancelled.
    """
    settings = {"model": model_identity(model), "settings": settings_identity(model),
                "cases": [folder.name for folder in folders], "seed": seed, "resolution": RESOLUTION, "version": _VERSION}  # fmt: skip
    log = ResultLog(work, settings)
    jobs = [(again, look, index) for again in range(TRIALS_A_LOOK) for look in LOOKS for index in range(len(folders))]
    for number in range(len(log.records), len(jobs)):
        again, look, index = jobs[number]
        _tell(progress, cancelled, number / len(jobs), f"{look}, knee {index + 1} of {len(folders)}")
        exposure = _exposed(folders[index], look, seed + again, index)
        given = list(exposure.radiographs), exposure.rig, exposure.side, model
        log.add({"kind": look, "case": folders[index].name, **trial(*given, [seed + again, LOOKS.index(look), index])})
    return log.records


def people_trials(
    model: Model,
    data: Path,
    left_out: Path,
    work: Path,
    seed: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[dict[str, Any]]:
    """TRIALS_A_LEG trials of each leg in each rig of the people of the shape prior, who are left out of it one at a time.

    data: the anatomy folder. left_out: the work folder of `left_out_people`. Others as of `population_trials`.
    """
    people = people_to_leave_out(model, data)
    settings = {"model": model_identity(model), "settings": settings_identity(model), "people": people,
                "rigs": RIGS, "trials": TRIALS_A_LEG, "seed": seed, "resolution": RESOLUTION, "version": _VERSION}  # fmt: skip
    log = ResultLog(work, settings)
    done = {(record["case"], record["rig"], record["trial"]) for record in log.records}
    for index, person in enumerate(people):
        without = model_without(model, person, data, left_out)
        sets = unseen_legs(data, [person], left_out / "cases" / person)
        jobs = [(rig, folder) for rig, group in zip(RIGS, sets, strict=True) for folder in find_cases(group.folder)]
        for place, (rig, folder) in enumerate(jobs):
            for number in range(TRIALS_A_LEG):
                if (folder.name, rig, number) in done:
                    continue
                _tell(progress, cancelled, (index + place / len(jobs)) / len(people), f"{folder.name}, {rig}, left out")
                case = load_case(folder)
                found = trial(case_images(case), case.rig, case.side, without, [seed, len(LOOKS), index, place, number])
                log.add({"kind": PEOPLE, "person": person, "case": folder.name, "rig": rig, "trial": number, **found})
    return log.records


def trial(radiographs: Sequence[Radiograph], rig: Rig, side: str, model: Model, seed: Sequence[int]) -> dict[str, Any]:
    """Misstate the second view at random, every third time not at all, and ask; plain values.

    "stated" and "found": angle and roll in degrees by which the rig is wrong, and by which the view is said to be turned beyond the rig:
    the first with the other sign, if it were exact. "spread": of both. Without an answer the last two are None.
    """
    generator = np.random.default_rng(list(seed))
    angle, roll = (float(value) for value in generator.uniform(-1.0, 1.0, 2) * MISSTATED_DEGREES)
    if generator.integers(3) == 0:
        angle = roll = 0.0
    record: dict[str, Any] = {"stated": [angle, roll], "found": None, "spread": None}
    try:
        result = reconstruct(
            radiographs,
            turned_second_view(rig, angle, roll),
            model,
            RESOLUTION,
            "cpu",
            side=side,
            check_view_order=False,
        )
    except InputError as error:
        return {**record, "refused": str(error)}
    motion = result.motion
    if motion is None:
        return record
    found = [motion.angle_degrees, motion.roll_degrees]
    return {**record, "found": found, "spread": [motion.angle_spread_degrees, motion.roll_spread_degrees]}


def errors_of(records: Sequence[Mapping[str, Any]], which: int) -> tuple[np.ndarray, np.ndarray]:
    """Spreads and errors (N,) in degrees of the records with an answer. which: 0 for the angle, 1 for the roll."""
    told = [record for record in records if record["found"] is not None]
    spreads = np.array([record["spread"][which] for record in told], dtype=np.float64)
    errors = np.array([record["found"][which] + record["stated"][which] for record in told], dtype=np.float64)
    return spreads, errors


def _exposed(folder: Path, look: str, seed: int, index: int) -> TrainingExposure:
    volume = load_case_volume(folder, True)
    if look in LOOKS[:2]:
        generator = np.random.default_rng([seed, LOOKS.index(look), index])
        return exposure_of_volume(volume, generator, changed=look == LOOKS[1])
    return exposure_in_another_room(volume, seed, index, LOOKS.index(look) - 2)


def _tell(progress: Progress | None, cancelled: Callable[[], bool] | None, fraction: float, words: str) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("The trials were cancelled.")
    if progress is not None:
        progress(fraction, words)
