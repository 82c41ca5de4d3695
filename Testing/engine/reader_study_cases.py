"""A small reader study of smooth, asymmetric knees, and answer files as a reader's page writes them."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from simple_bones import CAPSULES, MIRROR, simple_bone

from SSRKDCore.cases import save_case
from SSRKDCore.cli import main
from SSRKDCore.evaluation.reader_study.answers import SCHEMA, check_sum
from SSRKDCore.evaluation.reader_study.wording import SCALES
from SSRKDCore.geometry.presets import preset
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface

SIDES = {"alpha": "right", "beta": "left", "gamma": "right"}
READERS = ("Anna", "Béla", "C-3")
SEED = 11


def knee(side: str, bulge: float = 0.0) -> dict[str, Surface]:
    """A knee; `bulge` mm makes it thicker at the joint."""
    bones = {name: _bone(name, bulge) for name in CAPSULES}
    return bones if side == "right" else {name: mirrored(bone) for name, bone in bones.items()}


@cache
def _bone(name: str, bulge: float) -> Surface:
    return simple_bone(name, bulge=bulge)


def mirrored(surface: Surface) -> Surface:
    """The mirror image with outward winding."""
    return Surface(surface.transformed(MIRROR).vertices, surface.faces[:, ::-1])


def write_cases(folder: Path) -> None:
    """`folder`/cases and `folder`/reconstructions: three knees, and what a program might make of them."""
    for number, (name, side) in enumerate(SIDES.items()):
        case = folder / "cases" / name
        case.mkdir(parents=True)
        rig = preset("room", side, rows=96, columns=80, pixel_spacing=(4.5, 4.5))
        generator = np.random.default_rng(number)
        for view in rig.views:
            image = sitk.GetImageFromArray(generator.random((view.rows, view.columns)).astype(np.float32))
            image.SetSpacing((view.pixel_spacing[1], view.pixel_spacing[0]))
            sitk.WriteImage(image, str(case / f"{view.name}.nrrd"))
        for bone, surface in knee(side).items():
            write_surface(case / f"{bone}.ply", surface)
        images = {view.name: f"{view.name}.nrrd" for view in rig.views}
        save_case(case, name, side, rig, images, "line_integral", {bone: f"{bone}.ply" for bone in CAPSULES})
        answer = folder / "reconstructions" / name
        answer.mkdir(parents=True)
        for bone, surface in knee(side, 1.5 + number).items():
            write_surface(answer / f"{bone}.stl", surface)


def make(folder: Path, out: Path, *words: str, only: str = "", seed: int = SEED) -> int:
    """`ssrkd reader-study make` on what write_cases wrote, or on one of its cases."""
    cases = folder / "cases" / only
    paths = ["--cases", str(cases), "--reconstructions", str(folder / "reconstructions"), "--out", str(out)]
    return main(["reader-study", "make", *paths, "--readers", *READERS, "--seed", str(seed), *words])


@cache
def _made(base: Path) -> Path:
    folder = base / "reader study é"
    write_cases(folder)
    assert make(folder, folder / "study") == 0
    return folder


def made_once(factory: pytest.TempPathFactory) -> Path:
    """A folder with cases, reconstructions and a study of them, the same for all tests of a process."""
    return _made(factory.getbasetemp())


def page_of(study: Path, reader: str) -> Path:
    return study / "for_readers" / reader / "questionnaire.html"


def page_content(page: Path) -> dict[str, Any]:
    """The data that a page carries."""
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found
    return dict(json.loads(found.group(1)))


def picture(address: str) -> bytes:
    return base64.b64decode(address.removeprefix("data:image/png;base64,"))


def key_of(study: Path) -> dict[str, Any]:
    return dict(json.loads((study / "key.json").read_text("utf-8")))


def answer_file(path: Path, study: Path, reader: str, grades: dict[tuple[str, str], tuple[int | None, ...]]) -> Path:
    """An answer file: (case, version) -> grades on the three scales."""
    key = key_of(study)
    items = [
        {
            "code": model["code"],
            "grades": dict(zip(SCALES, grades[model["case"], model["version"]], strict=True)),
            "milliseconds": 1500,
            "comment": "",
        }
        for model in key["pages"][reader]
        if (model["case"], model["version"]) in grades
    ]
    return write_answers(
        path, {"schema": SCHEMA, "study": key["study"], "reader": reader, "saved": "2026", "items": items}
    )


def write_answers(path: Path, content: dict[str, Any]) -> Path:
    """Write answers with their right check sum."""
    path.write_text(json.dumps({**content, "sha256": check_sum(content)}), encoding="utf-8")
    return path
