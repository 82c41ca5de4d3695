"""A study of guides over cases: the control sees what the field of view shows, failures stay as rows, and a stopped run goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from box_leg import box_tibia
from experiment_cases import small_rig
from leg_shapes import MIRROR, meshed, simple_leg

from SSRKDCore.cases import save_case
from SSRKDCore.errors import InputError
from SSRKDCore.planning.guide_study import study
from SSRKDCore.planning.guide_study_case import StudySettings, seen_bones
from SSRKDCore.planning.guide_study_results import (
    FIGURES,
    StudyRow,
    picture_of_rows,
    summary_by_set,
    words_of_summary,
    write_study_rows,
)
from SSRKDCore.planning.mesh_booleans import solid, surface_of
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface

pytest.importorskip("manifold3d")
SETTINGS = StudySettings("absent", "0" * 64, None, None, 8.0, 64, "cpu", starts=2, samples=1)
STEPS = ("plan", "guide", "reference", "control_plan", "control_guide")


def write_bones(folder: Path, bones: Mapping[str, Surface]) -> None:
    folder.mkdir(parents=True)
    for name, surface in bones.items():
        write_surface(folder / f"{name}.ply", surface)


def write_case(folder: Path, side: str, bones: Mapping[str, Surface]) -> Path:
    write_bones(folder, bones)
    rig = small_rig()
    for view in rig.views:
        image = sitk.GetImageFromArray(np.zeros((view.rows, view.columns), np.float32))
        image.SetSpacing((view.pixel_spacing[1], view.pixel_spacing[0]))
        sitk.WriteImage(image, str(folder / f"{view.name}.nrrd"))
    images = {view.name: f"{view.name}.nrrd" for view in rig.views}
    files = {name: f"{name}.ply" for name in bones}
    save_case(folder, folder.name, side, rig, images, "line_integral", files, provenance={"subject": "box"})
    return folder


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_control_is_given_what_the_field_of_view_shows(side: str) -> None:
    leg = simple_leg(side, slope=8.0)
    box = np.array([[-80.0] * 3, [80.0] * 3])
    seen = seen_bones(leg, box)
    assert seen["patella"] is leg["patella"]
    for name in ("femur", "tibia", "fibula"):
        part = seen[name]
        assert part.is_closed() and (part.bounds >= box[0] - 1e-9).all() and (part.bounds <= box[1] + 1e-9).all()
        height = 80.0 if name == "femur" else -80.0
        assert np.abs(part.vertices[:, 2] - height).min() < 1e-9
    assert "fibula" not in seen_bones(leg, np.array([[-80.0, -80.0, 20.0], [80.0, 80.0, 80.0]]))
    # A box of 80 x 50 x 300 mm below z = 0, of which a corner is seen.
    corner = seen_bones({"tibia": box_tibia()}, np.array([[-10.0, 0.0, -80.0], [80.0, 80.0, 80.0]]))["tibia"]
    assert corner.volume == pytest.approx(50.0 * 25.0 * 80.0)
    assert corner.bounds == pytest.approx(np.array([[-10.0, 0.0, -80.0], [40.0, 25.0, 0.0]]))


def test_a_bone_that_has_to_be_cut_must_be_a_solid() -> None:
    tibia = simple_leg()["tibia"]
    with pytest.raises(InputError, match="reference tibia is open"):
        seen_bones({"tibia": Surface(tibia.vertices, tibia.faces[1:])}, np.array([[-80.0] * 3, [80.0] * 3]))


def flared_tibia() -> Surface:
    """The simple tibia of a right leg, with a metaphysis that is wide enough for a guide."""

    def flare(points: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(points, -1, 0)
        share = np.clip((z + 88.0) / 74.0, 0.0, 1.0) ** 1.3
        across, deep = 14.0 + 22.0 * share, 14.0 + 10.0 * share
        beside = (np.hypot(x / across, y / deep) - 1.0) * deep
        return np.asarray(np.maximum.reduce([beside, z + 12.0, -88.0 - z]))

    plain = simple_leg("right", slope=8.0, knee_only=True)["tibia"]
    wide = meshed([flare], (-40, -30, -92), (40, 30, -8))
    return surface_of(solid(plain, "tibia") + solid(wide, "flare"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A left leg whose reconstruction lies there already, perfect but 3 mm beside its place, and a case that has none."""
    root = tmp_path_factory.mktemp("study")
    leg = {**simple_leg("left", slope=8.0, knee_only=True), "tibia": flared_tibia().transformed(MIRROR)}
    good = write_case(root / "toys" / "good", "left", leg)
    bad = write_case(root / "toys" / "unreadable", "left", leg)
    (bad / "ap.nrrd").write_bytes(b"no image")
    study([], root / "out", SETTINGS, "none")
    shifted = {name: surface.transformed(_shift(3.0)) for name, surface in leg.items()}
    write_bones(root / "out" / "cases" / "toys-good" / "reconstruction", shifted)
    return root, good, study([good, bad], root / "out", SETTINGS, "the words")


def _shift(along_x: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = along_x
    return matrix


def test_a_perfect_reconstruction_gives_the_guide_of_the_reference(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    root, _, content = finished
    row = content["rows"][0]
    assert row["failures"] == {} and row["subject"] == "box" and row["side"] == "left"
    # Registered, the reconstruction is the reference: 3 mm are taken back, and both guides fit alike.
    assert row["registration"]["translation_mm"] == pytest.approx(3.0, abs=0.05)
    for guide in ("guide", "control"):
        assert row[guide]["contact.contact_percent_within_0.5_mm"] > 90.0
        assert row[guide]["cut_plane.angle_degrees"] < 0.5
    case = root / "out" / "cases" / "toys-good"
    assert all((case / step).is_dir() for step in STEPS)
    planes = [json.loads((case / name / "plan.json").read_text())["cut_plane"] for name in ("plan", "control_plan")]
    # The control's cut is the plan's own.
    normal, point = np.array(planes[0]["normal"]), np.array(planes[0]["point"])
    assert abs(normal @ planes[1]["normal"]) == pytest.approx(1.0, abs=1e-4)
    assert abs(normal @ (np.array(planes[1]["point"]) - point)) < 0.1
    assert (
        read_surface(case / "reference" / "tibia.ply").bounds[0, 2]
        < -110
        < read_surface(case / "reference" / "seen" / "tibia.ply").bounds[0, 2]
    )


def test_a_failure_is_a_row_with_its_reason(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    root, _, content = finished
    assert (content["cases"], content["simulated"], content["with_control"]) == (2, 1, 1)
    assert set(content["rows"][1]["failures"]) == {"reconstruction"}
    with (root / "out" / "cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["good", "unreadable"]
    assert rows[1]["failures"].startswith("reconstruction: ") and rows[1]["guide.cut_plane.angle_degrees"] == ""
    assert (root / "out" / "guides.png").read_bytes().startswith(b"\x89PNG")
    assert len((root / "out" / "table" / "table.csv").read_text().splitlines()) == 3
    assert content["command"] == "the words" and content["model"]["weights_sha256"] == "0" * 64


def test_what_is_there_is_not_made_again_and_other_settings_are_refused(
    finished: tuple[Path, Path, dict[str, Any]],
) -> None:
    root, good, content = finished
    made = {path: path.stat().st_mtime_ns for path in (root / "out").glob("[cs]*/toys-good/**/*.json")}
    again = study([good], root / "out", SETTINGS, "again")
    assert again["rows"] == content["rows"][:1]
    assert made == {path: path.stat().st_mtime_ns for path in made} and len(made) >= 4
    with pytest.raises(InputError, match=r"other settings \(angle_degrees\)"):
        study([good], root / "out", StudySettings("absent", "0" * 64, None, None, 9.0, 64, "cpu", 2, 1), "other")


def row(case: str, set_name: str, angle: float | None, contact: float = 50.0) -> StudyRow:
    if angle is None:
        return StudyRow(set_name, case, None, None, {"plan": "no tibia"})
    values = {"cut_plane": {"angle_degrees": angle}, "contact": {"contact_percent_within_0.5_mm": contact}}
    return StudyRow(set_name, case, None, "left", {}, {"guide": values, "control": None, "registration": None})


def test_sets_are_summed_up_apart_with_their_worst_case(tmp_path: Path) -> None:
    rows = [
        row("a", "people", -3.0, 20.0),
        row("b", "people", 1.0, 60.0),
        row("c", "drawn", 9.0),
        row("d", "people", None),
    ]
    summary = summary_by_set(rows)
    assert list(summary) == ["people", "drawn"] and summary["people"]["control"] == {}
    angle = summary["people"]["guide"]["cut_plane.angle_degrees"]
    assert angle == {"cases": 2, "mean": -1.0, "mean_absolute": 2.0, "worst": -3.0, "worst_case": "a"}
    # Little contact is bad, so the smallest is the worst.
    assert summary["people"]["guide"]["contact.contact_percent_within_0.5_mm"]["worst_case"] == "a"
    assert set(summary["drawn"]["guide"]) <= set(FIGURES)
    assert words_of_summary(summary)[1].startswith(
        "people, guide made on the reconstruction: cut plane: angle degrees mean 2.00, worst -3.00 (a), 2 cases"
    )
    write_study_rows(tmp_path / "cases.csv", rows)
    assert "plan: no tibia" in (tmp_path / "cases.csv").read_text()
    picture_of_rows(tmp_path / "picture.png", rows)
    assert (tmp_path / "picture.png").stat().st_size > 1000
