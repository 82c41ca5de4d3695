"""Bad training cases are named before they are trained on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from training_cases import VOXEL, knee_hounsfield, write_knee_case, write_volume

from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface
from SSRKDCore.training.case_checks import check_content, check_training_cases, ct_box
from SSRKDCore.training.case_volume import load_case_volume
from SSRKDCore.training.test_sets import external_knees


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_knee_case(tmp_path_factory.mktemp("good") / "good")


@pytest.fixture
def case(good: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(good, tmp_path / "spoilt"))


def change(case: Path, **values: object) -> None:
    write_json(case / "case.json", {**read_json(case / "case.json", "a case"), **values})


def problem_of(case: Path, read_volumes: bool = False) -> str:
    (problem,) = check_training_cases([case], read_volumes=read_volumes)
    assert problem.case == case and str(case) in problem.sentence
    return problem.sentence


def test_good_cases_have_no_problem(good: Path, tmp_path: Path) -> None:
    others = [
        write_knee_case(tmp_path / "left", side="left", size=0.9),
        write_knee_case(tmp_path / "map", reference="segmentation"),
        write_knee_case(tmp_path / "unlabelled", reference=None),
    ]
    assert check_training_cases([good, *others], read_volumes=True) == []


def test_a_case_that_is_none_is_named_and_the_others_are_still_checked(good: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "case.json").write_text('{"schema": "ssrkd-case/1", "id"')
    problems = check_training_cases([tmp_path / "empty", tmp_path / "torn", good])
    assert [problem.case.name for problem in problems] == ["empty", "torn"]


def test_one_id_twice_is_refused(good: Path, case: Path) -> None:
    (problem,) = check_training_cases([good, case])
    assert problem.case == case and "same id 'good'" in problem.sentence and str(good) in problem.sentence
    (problem,) = check_training_cases([good], unlabelled=[case])
    assert problem.case == case


@pytest.mark.parametrize("provenance", [{"evaluate_only": True}, {"simulated_from": "external_oai/9001104"}])
def test_evaluation_cases_are_never_trained_on(case: Path, provenance: dict) -> None:
    change(case, provenance=provenance)
    assert "evaluation only" in problem_of(case)
    assert len(check_training_cases([], unlabelled=[case])) == 1


def test_the_external_knees_are_marked_as_for_evaluation(good: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "external_oai" / "9001104").mkdir(parents=True)
    shutil.copytree(good, tmp_path / "cases" / "external-room" / "9001104")
    external = external_knees(tmp_path / "data", tmp_path / "cases")
    assert "evaluation only" in problem_of(external.folder / "9001104")


def test_a_missing_ct_is_named(case: Path) -> None:
    change(case, ct=None)
    assert "has no CT" in problem_of(case)


def test_a_damaged_ct_is_named(case: Path) -> None:
    (case / "ct.nrrd").write_bytes(b"NRRD0004\nnonsense")
    assert "damaged" in problem_of(case)


def test_a_truncated_ct_is_found_when_volumes_are_read(case: Path) -> None:
    path = case / "ct.nrrd"
    path.write_bytes(path.read_bytes()[:-3000])
    assert check_training_cases([case]) == []
    assert "damaged" in problem_of(case, read_volumes=True)


def test_mixed_up_sides_are_named(case: Path) -> None:
    change(case, side="left")
    assert "said to be a left knee" in problem_of(case) and "medial" in problem_of(case)


def test_mixed_up_sides_of_label_maps_are_named(tmp_path: Path) -> None:
    case = write_knee_case(tmp_path / "map", side="left", reference="segmentation")
    change(case, side="right")
    assert "said to be a right knee" in problem_of(case)


def test_a_lacking_bone_is_named(case: Path) -> None:
    reference = read_json(case / "case.json", "a case")["reference"]
    change(case, reference={name: file for name, file in reference.items() if name != "fibula"})
    assert "no fibula" in problem_of(case)
    with pytest.raises(InputError, match="no fibula"):
        load_case_volume(case)
    # Without its labels it is of use.
    assert check_training_cases([], unlabelled=[case]) == []


def test_an_empty_segment_is_named(tmp_path: Path) -> None:
    case = write_knee_case(tmp_path / "map", reference="segmentation")
    path = case / "reference.seg.nrrd"
    image = sitk.ReadImage(str(path))
    labels = sitk.GetArrayFromImage(image)
    emptied = sitk.GetImageFromArray(np.where(labels == 1, 0, labels).astype(np.uint8))
    emptied.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        emptied.SetMetaData(key, image.GetMetaData(key))
    sitk.WriteImage(emptied, str(path))
    assert "no patella" in problem_of(case)


def move_surfaces(case: Path, how: Callable[[Surface], Surface]) -> None:
    for path in case.glob("*.ply"):
        write_surface(path, how(read_surface(path)))


def test_a_reference_outside_the_ct_is_named(case: Path) -> None:
    move_surfaces(case, lambda surface: Surface(surface.vertices + np.array([0, 300, 0]), surface.faces))
    assert "lies outside the CT" in problem_of(case)


def test_a_reference_that_is_not_where_the_ct_shows_bone_is_found_when_volumes_are_read(case: Path) -> None:
    move_surfaces(case, lambda surface: Surface(surface.vertices + np.array([0, 26, 0]), surface.faces))
    assert check_training_cases([case]) == []
    assert "one frame" in problem_of(case, read_volumes=True)


def test_open_and_inverted_surfaces_are_named(case: Path) -> None:
    surface = read_surface(case / "patella.ply")
    write_surface(case / "patella.ply", Surface(surface.vertices, surface.faces[1:]))
    assert "patella is not closed" in problem_of(case)
    write_surface(case / "patella.ply", Surface(surface.vertices, surface.faces[:, ::-1]))
    assert "patella is inside out" in problem_of(case)


def test_a_rig_that_looks_elsewhere_is_named(case: Path) -> None:
    rig = read_json(case / "rig.json", "a rig")
    rig["field_of_view"]["center"] = [0.0, 0.0, 400.0]
    write_json(case / "rig.json", rig)
    assert "little in common" in problem_of(case)


def spoil_ct(case: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
    values, grid, _ = read_ct(case / "ct.nrrd")
    write_volume(case / "ct.nrrd", how(values).astype(np.int16), grid)


def test_what_is_no_ct_in_hounsfield_units_is_named(case: Path) -> None:
    spoil_ct(case, lambda values: values + 1024)
    assert "Hounsfield" in problem_of(case, read_volumes=True)


def test_a_ct_without_bones_is_named(case: Path) -> None:
    def boneless(values: np.ndarray) -> np.ndarray:
        values = np.minimum(values, 60)
        values[0, 0, 0] = 300
        return values

    spoil_ct(case, boneless)
    assert "shows no bone" in problem_of(case, read_volumes=True)


def test_two_legs_in_one_ct_are_named(case: Path) -> None:
    values, grid, _ = read_ct(case / "ct.nrrd")
    other = knee_hounsfield(grid, "left")
    both = np.concatenate([values, other.astype(np.float32)], axis=2).astype(np.int16)
    write_volume(case / "ct.nrrd", both, Grid(grid.origin, grid.spacing, both.shape))
    assert "more than one leg" in problem_of(case, read_volumes=True)


def test_metal_is_no_problem(case: Path) -> None:
    def with_staple(values: np.ndarray) -> np.ndarray:
        values[30:33, 20:22, 20:24] = 32000
        return values

    spoil_ct(case, with_staple)
    check_content(load_case_volume(case))


def test_the_box_of_a_ct_is_that_of_its_grid(case: Path) -> None:
    _, grid, _ = read_ct(case / "ct.nrrd")
    assert np.allclose(ct_box(case / "ct.nrrd"), grid.bounds) and grid.spacing == (VOXEL,) * 3
    image = sitk.ReadImage(str(case / "ct.nrrd"))
    turned = sitk.DICOMOrient(image, "RAS")
    sitk.WriteImage(turned, str(case / "turned.nrrd"))
    assert np.allclose(ct_box(case / "turned.nrrd"), grid.bounds)
