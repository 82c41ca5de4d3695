"""`ssrkd radiograph`: cases from legs and CTs, and clear errors that leave nothing behind."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK

from SSRKDCore.cases import load_case
from SSRKDCore.commands import radiograph
from SSRKDCore.drr.simulated_case import cropped
from SSRKDCore.drr.volume_reader import read_ct, volume_name
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.known_geometry import assumed_preset, geometry_doubts
from SSRKDCore.geometry.presets import preset
from SSRKDCore.grid import Grid
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface


def run(*arguments: str | Path) -> dict[str, Any]:
    """The command's result; it must be JSON-able."""
    parser = argparse.ArgumentParser()
    radiograph.add_arguments(parser)
    result = radiograph.run(parser.parse_args([str(argument) for argument in arguments]))
    assert json.loads(json.dumps(result)) == result
    return result


def ball(center: Sequence[float], half_axes: Sequence[float]) -> Surface:
    """A closed ellipsoid from VTK."""
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetRadius(1.0)
    source.SetThetaResolution(24)
    source.SetPhiResolution(24)
    source.Update()
    unit = Surface.from_vtk(source.GetOutput())
    return Surface(unit.vertices * np.array(half_axes) + np.array(center), unit.faces)


@pytest.fixture
def leg(tmp_path: Path) -> Path:
    """A toy left leg, not at the origin, in a folder with a space and an umlaut in its name."""
    folder = tmp_path / "Bein länks 1"
    folder.mkdir()
    bones = {
        "femur": ball((10, 20, 145), (16, 15, 43)),
        "tibia": ball((10, 20, 53), (15, 14, 45)),
        "fibula": ball((30, 30, 48), (5, 5, 40)),
        "patella": ball((10, -4, 120), (11, 6, 13)),
    }
    for name, surface in bones.items():
        write_surface(folder / f"{name}.stl", surface)
    return folder


@pytest.fixture
def small_rig(tmp_path: Path) -> Path:
    """A rig.json about the knee of `leg`, with few pixels."""
    rig = preset("room", "left", pixel_spacing=(2.0, 2.5), rows=100, columns=90).translated((10.0, 20.0, 100.0))
    path = tmp_path / "rig.json"
    rig.save(path)
    return path


def ct_file(path: Path) -> Path:
    """A CT of 60 x 40 x 50 voxels with a bone-like rod off centre."""
    values = np.full((50, 40, 60), -1000, np.int16)
    values[:, 8:32, 10:50] = 40
    values[:, 15:22, 15:25] = 900
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((100.0, -50.0, 20.0))
    SimpleITK.WriteImage(image, str(path))
    return path


def test_leg_becomes_a_case(leg: Path, small_rig: Path, tmp_path: Path) -> None:
    out = tmp_path / "case"
    result = run(leg, "--rig", small_rig, "--out", out, "--voxel", "1.5", "--noise", "none", "--backend", "siddon")
    assert result["side"] == "left", "the fibula is at the patient's left of the tibia"
    case = load_case(out)
    assert case.side == "left" and case.intensity == "line_integral"
    assert isinstance(case.reference, dict)
    bones = {name: read_surface(path) for name, path in case.reference.items()}
    assert bones.keys() == {"patella", "femur", "fibula", "tibia"}
    np.testing.assert_allclose(bones["femur"].bounds.mean(0), (10, 20, 145), atol=0.2)
    assert (out / "preview.png").stat().st_size > 1000
    images = {name: read_radiograph(path) for name, path in case.radiographs.items()}
    assert images["ap"].side == "left" and images["lateral"].view == "lateral"
    uids = {pydicom.dcmread(path).StudyInstanceUID for path in case.radiographs.values()}
    assert len(uids) == 1
    for view in case.rig.views:
        pixels = images[view.name].pixels
        for bone in ("patella", "fibula"):
            (row, column), _ = view.project(bones[bone].bounds.mean(0))
            r, c = round(row), round(column)
            assert pixels[r, c] > 1.0, f"the {bone} lies where the rig projects it"
    # The fibula stands lateral of the tibia: at the patient's left, the right half of an AP image.
    row = int(case.rig.view("ap").project((30.0, 30.0, 40.0))[0][0])
    line = images["ap"].pixels[row]
    assert line[45:].sum() > 1.02 * line[:45].sum()


def test_noise_is_repeatable_and_independent_between_views(leg: Path, small_rig: Path, tmp_path: Path) -> None:
    common = (leg, "--rig", small_rig, "--voxel", "2", "--photons", "3000", "--electronic-noise", "5")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run(*common, "--out", tmp_path / name, "--seed", seed)
    images = {name: pydicom.dcmread(tmp_path / name / "ap.dcm").pixel_array for name in "abc"}
    np.testing.assert_array_equal(images["a"], images["b"])
    assert not np.array_equal(images["a"], images["c"])
    open_field = read_radiograph(tmp_path / "a" / "ap.dcm").pixels[:, :8]
    assert open_field.std() == pytest.approx(np.sqrt(3000 + 25) / 3000, rel=0.1)
    assert load_case(tmp_path / "a").provenance["noise"]["photons"] == 3000


def test_preset_is_moved_to_the_knee(leg: Path) -> None:
    from SSRKDCore.drr.simulated_case import knee_center, placed_rig
    from SSRKDCore.surface_files import read_bone_surfaces

    center = knee_center(read_bone_surfaces(leg))
    np.testing.assert_allclose(center, (10, 20, 100), atol=3.0)
    rig = placed_rig("room", "left", None, center)
    assert rig.field_of_view.center == center
    np.testing.assert_allclose(np.array(rig.view("ap").source) - center, (0, -1000, 0), atol=1e-9)
    assert placed_rig("room", "left", (1.0, 2.0, 3.0), center).field_of_view.center == (1.0, 2.0, 3.0)


def test_a_rig_file_is_what_simulated_radiographs_are_taken_with(tmp_path: Path) -> None:
    from SSRKDCore.drr.simulated_case import placed_rig

    assumed_preset(preset("room", "right"), "room").save(tmp_path / "rig.json")
    rig = placed_rig(tmp_path / "rig.json", "left", None, (0.0, 0.0, 0.0))
    assert rig.views == preset("room", "right").views
    assert geometry_doubts(rig) == [] and rig.provenance["side"] == "left"


def test_ct_becomes_a_case(tmp_path: Path) -> None:
    volume = ct_file(tmp_path / "knee ct.nrrd")
    rig = tmp_path / "rig.json"
    preset("room", "right", pixel_spacing=(3.0, 3.0), rows=60, columns=60, field_of_view_size=90).translated(
        (160, 0, 93)
    ).save(rig)
    result = run(volume, "--rig", rig, "--side", "right", "--out", tmp_path / "case", "--noise", "none")
    case = load_case(tmp_path / "case")
    assert case.reference is None and case.side == "right" and result["reference"] == []
    ap = read_radiograph(case.radiographs["ap"]).pixels
    view = case.rig.view("ap")
    (row, column), _ = view.project((139.0, -3.75, 92.0))
    # A straight ray of 60 mm soft tissue (40 HU), of which 17.5 mm are bone (900 HU).
    from SSRKDCore.drr.attenuation import attenuation_from_hounsfield

    soft, bone = attenuation_from_hounsfield(np.array([40.0, 900.0]))
    assert ap[round(row), round(column)] == pytest.approx(42.5 * soft + 17.5 * bone, rel=0.02)
    (row, column), _ = view.project((190.0, 0.0, 92.0))
    assert ap[round(row), round(column)] == pytest.approx(60 * soft, rel=0.02)


def test_a_point_in_the_name_of_a_ct_does_not_end_it(small_rig: Path, tmp_path: Path) -> None:
    ids = []
    for name in ("P001.2024-05-01.nrrd", "P001.2025-05-01.nii.gz"):
        middle = ("20", "0", "93")
        run(ct_file(tmp_path / name), "--rig", small_rig, "--center", *middle, "--out", tmp_path / f"case {name}")
        ids.append(load_case(tmp_path / f"case {name}").id)
    assert ids == ["P001.2024-05-01", "P001.2025-05-01"]
    (tmp_path / "study.2024").mkdir()
    assert volume_name(tmp_path / "study.2024") == "study.2024" and volume_name(Path(".nrrd")) == ".nrrd"


def test_ct_axes_and_senses_make_no_difference(tmp_path: Path) -> None:
    """The same anatomy stored RAS, or with permuted axes, gives the same volume; an oblique one is resampled."""
    values, grid, _ = read_ct(ct_file(tmp_path / "a.nrrd"))
    image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, "RAS"), str(tmp_path / "ras.nii.gz"))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, "SPL"), str(tmp_path / "spl.mha"))
    for name in ("ras.nii.gz", "spl.mha"):
        other, other_grid, warnings = read_ct(tmp_path / name)
        np.testing.assert_array_equal(other, values)
        np.testing.assert_allclose(other_grid.origin, grid.origin, atol=1e-4)
        assert warnings == []
    turned = SimpleITK.Image(image)
    angle = np.radians(10)
    turned.SetDirection((np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1))
    SimpleITK.WriteImage(turned, str(tmp_path / "oblique.nrrd"))
    oblique, oblique_grid, warnings = read_ct(tmp_path / "oblique.nrrd")
    assert "oblique" in warnings[0]
    place = np.array(turned.TransformIndexToPhysicalPoint((20, 18, 25)))
    z, y, x = np.rint(oblique_grid.indices(place[None])[0]).astype(int)
    assert oblique[z, y, x] == pytest.approx(900, abs=1)


def write_slices(folder: Path, values: np.ndarray, shift: float = 0.0) -> None:
    """DICOM slices 2 mm apart; each lies `shift` mm further back than the one below it."""
    folder.mkdir()
    for index in range(len(values)):
        image = SimpleITK.GetImageFromArray(values[index : index + 1])
        image.SetSpacing((1.0, 1.5, 2.0))
        image.SetOrigin((3.0, 4.0, 10.0 + 2 * index))
        for tag, value in {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0020|000e": "1.2.3.4",
            "0020|000d": "1.2.3",
            "0020|0013": str(index + 1),
            "0020|0032": f"3\\{4 + shift * index:g}\\{10 + 2 * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(tag, value)
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Execute(image)


def test_dicom_folder_is_read_and_gaps_are_refused(tmp_path: Path) -> None:
    values = np.full((6, 20, 24), -1000, np.int16)
    values[:, 5:12, 6:18] = 500
    values[4:, 5:8, 6:9] = 1200
    write_slices(tmp_path / "slices", values)
    read, grid, _ = read_ct(tmp_path / "slices")
    np.testing.assert_array_equal(read, values)
    np.testing.assert_allclose((*grid.origin, *grid.spacing), (3, 4, 10, 1, 1.5, 2))
    (tmp_path / "slices" / "2.dcm").unlink()
    with pytest.raises(InputError, match="lacks slices"):
        read_ct(tmp_path / "slices")


def test_slices_of_a_tilted_gantry_are_refused(tmp_path: Path) -> None:
    # A regular grid would put the last slice 2.5 mm beside its place.
    write_slices(tmp_path / "slices", np.full((6, 20, 24), -1000, np.int16), shift=0.5)
    with pytest.raises(InputError, match=r"tilted gantry.* by 2\.5 mm over 10 mm.*3D Slicer"):
        read_ct(tmp_path / "slices")
    write_slices(tmp_path / "rounded", np.full((6, 20, 24), -1000, np.int16), shift=0.001)
    read_ct(tmp_path / "rounded")


def test_crop_keeps_the_place_of_what_is_left() -> None:
    grid = Grid((0.0, 10.0, 20.0), (2.0, 1.0, 1.0), (3, 30, 40))
    volume = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    part, place = cropped(volume, grid, (30.0, 20.0, 0.0), 12.0)
    assert place.origin == (24.0, 14.0, 20.0)
    np.testing.assert_array_equal(part, volume[:, 4:17, 12:19])
    with pytest.raises(InputError, match="--crop"):
        cropped(volume, grid, (500.0, 20.0, 0.0), 12.0)


def refused(tmp_path: Path, words: str, *arguments: str | Path) -> None:
    out = tmp_path / "refused"
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=words):
        run(*arguments, "--out", out)
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"


def test_bad_input_is_one_clear_sentence(leg: Path, small_rig: Path, tmp_path: Path) -> None:
    volume = ct_file(tmp_path / "ct.nrrd")
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("nothing")
    (tmp_path / "zero.nrrd").write_bytes(b"")
    (tmp_path / "short.nrrd").write_bytes(volume.read_bytes()[:900])
    (tmp_path / "text.nii").write_text("not a volume at all")
    flat = SimpleITK.GetImageFromArray(np.zeros((5, 6, 7), np.int16))
    SimpleITK.WriteImage(flat, str(tmp_path / "flat.nrrd"))
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True), str(tmp_path / "rgb.nrrd")
    )
    nan = SimpleITK.GetImageFromArray(np.full((5, 6, 7), np.nan, np.float32))
    SimpleITK.WriteImage(nan, str(tmp_path / "nan.nrrd"))
    right = ("--rig", small_rig, "--side", "right")
    refused(tmp_path, "does not exist", tmp_path / "missing", *right)
    refused(tmp_path, "is empty", empty, *right)
    refused(tmp_path, "neither bone surfaces", other, *right)
    refused(tmp_path, "not a volume file", other / "notes.txt", *right)
    refused(tmp_path, "is empty", tmp_path / "zero.nrrd", *right)
    refused(tmp_path, "damaged", tmp_path / "short.nrrd", *right)
    refused(tmp_path, "damaged", tmp_path / "text.nii", *right)
    refused(tmp_path, "constant", tmp_path / "flat.nrrd", *right)
    refused(tmp_path, "colour", tmp_path / "rgb.nrrd", *right)
    refused(tmp_path, "NaN", tmp_path / "nan.nrrd", *right)
    refused(tmp_path, "neither a rig file nor one of the presets", leg, "--rig", "rooom")
    refused(tmp_path, "noise preset", leg, "--rig", small_rig, "--noise", "loud")
    refused(tmp_path, "leave one of them out", leg, "--rig", small_rig, "--noise", "none", "--photons", "5")
    refused(tmp_path, "--voxel", leg, "--rig", small_rig, "--voxel", "0")
    refused(tmp_path, "keV", leg, "--rig", small_rig, "--energy", "5")
    refused(tmp_path, "not.*installed|no CUDA", volume, *right, "--backend", "tigre", "--center", "160", "0", "93")
    refused(tmp_path, "No bone", leg, "--rig", small_rig, "--center", "0", "0", "900")


def test_existing_output_is_kept(leg: Path, small_rig: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "precious.txt").write_text("keep")
    with pytest.raises(InputError, match="--overwrite"):
        run(leg, "--rig", small_rig, "--out", out)
    assert (out / "precious.txt").read_text() == "keep"


def test_an_unknown_side_is_assumed_with_a_warning(leg: Path, small_rig: Path, tmp_path: Path) -> None:
    (leg / "fibula.stl").unlink()
    result = run(leg, "--rig", small_rig, "--out", tmp_path / "case", "--voxel", "3", "--noise", "none")
    assert result["side"] == "right"
    assert any("right was assumed" in words for words in result["warnings"])


def test_stated_side_wins_with_a_warning(leg: Path, small_rig: Path, tmp_path: Path) -> None:
    result = run(
        leg, "--rig", small_rig, "--side", "right", "--out", tmp_path / "case", "--voxel", "3", "--noise", "none"
    )
    assert result["side"] == "right"
    assert any("fibula" in words for words in result["warnings"])


def test_a_real_leg_looks_like_a_knee(shared_data: Path, tmp_path: Path) -> None:
    rig = tmp_path / "rig.json"
    preset("room", "right", pixel_spacing=(2.0, 2.0), rows=180, columns=180).save(rig)
    result = run(shared_data / "legs" / "ICL_MRI_R", "--rig", rig, "--out", tmp_path / "case", "--voxel", "1.2")
    assert result["side"] == "right"
    case = load_case(tmp_path / "case")
    assert isinstance(case.reference, dict)
    surfaces = {name: read_surface(path) for name, path in case.reference.items()}
    lateral = read_radiograph(case.radiographs["lateral"]).pixels
    view = case.rig.view("lateral")
    (row, column), _ = view.project(surfaces["patella"].centroid)
    (_, femur_column), _ = view.project(surfaces["femur"].centroid)
    assert column < femur_column, "the patella is anterior, at the left"
    assert lateral[int(row), int(column)] > 1.0
    # A knee of about 12 cm at 60 keV transmits a few percent: line integrals of 2 to 6.
    assert 2.0 < np.percentile(lateral, 99) < 6.0
    assert np.median(lateral[:, :10]) < 0.05, "open field beside the leg"
