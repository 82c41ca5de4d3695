"""The cases that a trained model is measured on, none of which training may see.

Three groups: synthetic knees of the population under another seed; real legs of subjects left out of the shape model and of
training; the external knees that are for evaluation only. Radiographs of real bones come from `ssrkd radiograph`, whose density model
is another than the training population's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore import cli
from SSRKDCore.cases import CASE_FILE
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json

SYNTHETIC = "synthetic"
UNSEEN_LEGS = "unseen legs"
EXTERNAL = "OAI (evaluation only)"
RIGS = ("room", "paper", "c_arm")
_SIDES = {"R": "right", "L": "left"}


@dataclass(frozen=True)
class TestSet:
    """A folder of cases with the words that tables call it by."""

    __test__ = False  # pytest collects classes by this name otherwise

    name: str
    folder: Path


def synthetic_cases(shape_model: Path, count: int, seed: int, out: Path, rig: str = "room") -> TestSet:
    """`count` knees by `ssrkd population`; an interrupted run goes on. Raises InputError when a case could not be made."""
    _run(["population", "--shape-model", str(shape_model), "--cases", str(count), "--seed", str(seed), "--rig", rig,
          "--out", str(out)])  # fmt: skip
    return TestSet(f"{SYNTHETIC}, {rig}", out)


def unseen_legs(data: Path, subjects: Sequence[str], out: Path, rigs: Sequence[str] = RIGS) -> list[TestSet]:
    """The legs of `subjects` through each rig, one folder a rig; cases that are there already are kept.

    Raises InputError when a subject has no leg.
    """
    sets = []
    for rig in rigs:
        folder = out / f"unseen-{rig}"
        for item in _legs(data, subjects):
            _simulate(data / "legs" / item["id"], rig, _SIDES[item["side"]], folder / item["id"], item["subject"])
        sets.append(TestSet(f"{UNSEEN_LEGS}, {rig}", folder))
    return sets


def unseen_legs_of_known_tissue(
    data: Path, subjects: Sequence[str], out: Path, seed: int = 0, rig: str = "room"
) -> TestSet:
    """The legs of `subjects` in tissue of the training population's own kind; cases that are there already are kept.

    Beside `unseen_legs` through the same rig this tells what the other density model costs, and what the bones themselves do.
    """
    from SSRKDCore.drr.noise import NoiseModel
    from SSRKDCore.geometry.presets import preset
    from SSRKDCore.output_folder import complete_folder
    from SSRKDCore.population.case_writer import CaseContent, write_case_folder
    from SSRKDCore.population.synthetic_ct import synthetic_ct
    from SSRKDCore.population.tissue import random_tissue
    from SSRKDCore.surface_files import read_bone_surfaces

    folder = out / f"unseen-known-tissue-{rig}"
    for index, item in enumerate(_legs(data, subjects)):
        if (folder / item["id"]).is_dir():
            _record_subject(folder / item["id"], item["subject"])
            continue
        side = _SIDES[item["side"]]
        generator = np.random.default_rng([seed, index])
        tissue = random_tissue(generator, 0.0)
        ct = synthetic_ct(read_bone_surfaces(data / "legs" / item["id"]), side, tissue, generator)
        content = CaseContent(item["id"], side, ct.hounsfield, ct.grid, ct.bones, ct.labels, ct.provenance)
        folder.mkdir(parents=True, exist_ok=True)
        with complete_folder(folder / item["id"]) as case:
            write_case_folder(case, content, preset(rig, side), NoiseModel(), seed + index)
            _record_subject(case, item["subject"])
    return TestSet(f"{UNSEEN_LEGS} in the training's tissue, {rig}", folder)


def external_knees(data: Path, out: Path, rig: str = "room") -> TestSet:
    """The external set (right knees without fibula), marked as never to be trained on; cases that are there already are kept."""
    folder = out / f"external-{rig}"
    for path in sorted(path for path in (data / "external_oai").iterdir() if path.is_dir()):
        _simulate(path, rig, "right", folder / path.name, path.name)
        _record(folder / path.name, {"evaluate_only": True})
    return TestSet(f"{EXTERNAL}, {rig}", folder)


def _legs(data: Path, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """The manifest's items of the subjects' whole legs. Raises InputError when a subject has none."""
    manifest = read_json(data / "manifest.json", "the manifest of the anatomy folder")
    legs = [item for item in manifest["items"] if (data / "legs" / item["id"]).is_dir()]
    lacking = set(subjects) - {item["subject"] for item in legs}
    if lacking:
        raise InputError(f"{data} has no leg of {', '.join(sorted(lacking))}: correct the excluded subjects.")
    return [item for item in legs if item["subject"] in subjects]


def _simulate(bones: Path, rig: str, side: str, out: Path, subject: str) -> None:
    if not out.is_dir():
        _run(["radiograph", str(bones), "--rig", rig, "--side", side, "--out", str(out)])
    _record_subject(out, subject)


def _record_subject(case: Path, subject: str) -> None:
    """Say in a case's provenance whose knee it is: intervals of the evaluation are over subjects, of whom some have two legs."""
    _record(case, {"subject": subject})


def _record(case: Path, facts: Mapping[str, Any]) -> None:
    """Say something more in a case's provenance, unless it says so already."""
    value = read_json(case / CASE_FILE, "a case file")
    provenance = value.get("provenance") or {}
    if {**provenance, **facts} != provenance:
        write_json(case / CASE_FILE, {**value, "provenance": {**provenance, **facts}})


def _run(arguments: list[str]) -> None:
    code = cli.main([*arguments])
    if code:
        raise InputError(f"`ssrkd {' '.join(arguments[:2])}` failed: see the message above.")
