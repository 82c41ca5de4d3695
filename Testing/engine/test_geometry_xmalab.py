"""XMALab cameras become views that project exactly as K [R | t] does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SSRKDCore.commands import rig as rig_command
from SSRKDCore.errors import InputError
from SSRKDCore.geometry import FieldOfView, Rig
from SSRKDCore.geometry.calibration.direct_linear_transform import decomposed, projection_matrix
from SSRKDCore.geometry.calibration.view_refinement import view_from_markers
from SSRKDCore.geometry.xmalab import read_transform, read_xmalab_camera, rig_from_xmalab, view_from_xmalab

CUBE = FieldOfView((20.0, -30.0, 40.0), 160.0)
POINTS = np.array(CUBE.center) + np.random.default_rng(3).uniform(-80, 80, (50, 3))


def camera_text(matrix: np.ndarray, rotation: np.ndarray, translation: np.ndarray, size: str = "1200,900") -> str:
    def block(values: np.ndarray) -> str:
        return "\n".join(",".join(repr(float(v)) for v in row) for row in np.atleast_2d(values))

    parts = (f"image size\n{size}", f"camera matrix\n{block(matrix)}", f"rotation\n{block(rotation)}")
    return "\n\n".join([*parts, f"translation\n{block(np.reshape(translation, (3, 1)))}"]) + "\n"


def looking_at_the_cube(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """R, t of a camera 1400 mm from the cube's centre, turned about z, with a few degrees of roll and tilt."""
    upright = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    rotation = Rotation.from_euler("zx", [4, -3], degrees=True).as_matrix() @ upright
    rotation = rotation @ Rotation.from_euler("z", -angle, degrees=True).as_matrix()
    source = np.array(CUBE.center) - 1400 * rotation[2]
    return rotation, -rotation @ source


@pytest.fixture
def cameras(tmp_path: Path) -> list[Path]:
    # Focal lengths that differ and a principal point off the middle: nothing may be assumed square or centred.
    matrix = np.array([[8600.0, 0, 550.5], [0, 8750.0, 470.25], [0, 0, 1]])
    paths = []
    for index, angle in enumerate((0.0, 70.0)):
        rotation, translation = looking_at_the_cube(angle)
        path = tmp_path / f"cam{index + 1}.txt"
        path.write_text(camera_text(matrix, rotation, translation))
        paths.append(path)
    return paths


def test_a_view_projects_as_the_camera_does(cameras: list[Path]) -> None:
    camera = read_xmalab_camera(cameras[1])
    assert (camera.columns, camera.rows) == (1200, 900)
    for distance in (1000.0, 1900.0):
        view = view_from_xmalab(camera, "cam", distance)
        pixels, depth = view.project(POINTS)
        # Written out from the definition, as [row, column].
        xc = POINTS @ camera.rotation.T + camera.translation
        np.testing.assert_allclose(pixels[:, 1], 8600 * xc[:, 0] / xc[:, 2] + 550.5, atol=1e-8)
        np.testing.assert_allclose(pixels[:, 0], 8750 * xc[:, 1] / xc[:, 2] + 470.25, atol=1e-8)
        np.testing.assert_allclose(camera.project(POINTS), pixels, atol=1e-8)
        np.testing.assert_allclose(depth, xc[:, 2], atol=1e-9)
        assert view.source_to_detector == pytest.approx(distance, rel=1e-12)
        assert view.pixel_spacing == pytest.approx((distance / 8750, distance / 8600), rel=1e-12)


def test_a_rig_keeps_the_projection_in_a_turned_world_and_through_its_file(cameras: list[Path], tmp_path: Path) -> None:
    to_lps = np.eye(4)
    to_lps[:3, :3] = Rotation.from_euler("xyz", [20, -35, 80], degrees=True).as_matrix()
    to_lps[:3, 3] = [5, -200, 31]
    moved = POINTS @ to_lps[:3, :3].T + to_lps[:3, 3]
    x, y, z = to_lps[:3, :3] @ np.array(CUBE.center) + to_lps[:3, 3]
    rig = rig_from_xmalab(cameras, FieldOfView((x, y, z), 160.0), to_lps)
    rig.save(tmp_path / "rig.json")
    loaded = Rig.load(tmp_path / "rig.json")
    assert [view.name for view in loaded.views] == ["ap", "lateral"]
    for path, view in zip(cameras, loaded.views, strict=True):
        np.testing.assert_allclose(view.project(moved)[0], read_xmalab_camera(path).project(POINTS), atol=1e-7)
        assert view.source_to_detector > view.project(loaded.field_of_view.corners)[1].max()
    # Both optical axes pass the centre of the cube, so the views are as far apart as the axes.
    first, second = (read_xmalab_camera(path).rotation[2] for path in cameras)
    assert loaded.separation_degrees() == pytest.approx(np.degrees(np.arccos(first @ second)), abs=1e-6)


def test_the_real_calibration_is_reproduced(shared_data: Path) -> None:
    files = [shared_data / "xray_autoscoper" / f"xr_calib_left_knee_cam0{index}.txt" for index in (1, 2)]
    rig = rig_from_xmalab(files, FieldOfView((130.0, 120.0, 50.0), 160.0), names=("cam1", "cam2"))
    points = np.array([130.0, 120.0, 50.0]) + np.random.default_rng(0).uniform(-80, 80, (100, 3))
    for path, view in zip(files, rig.views, strict=True):
        # The rotations in the files are orthogonal to about 1e-11, which is what their digits allow.
        np.testing.assert_allclose(view.project(points)[0], read_xmalab_camera(path).project(points), atol=1e-5)
        assert (view.rows, view.columns) == (1760, 1760)
    # Figures of the data's README: sources, pixel size at the joint, about 1398 mm away.
    np.testing.assert_allclose(rig.views[0].source, (-983.7, 956.2, 106.6), atol=0.06)
    np.testing.assert_allclose(rig.views[1].source, (123.7, 1474.1, 90.4), atol=0.06)
    assert rig.views[0].pixel_spacing[1] / rig.views[0].source_to_detector * 1398 == pytest.approx(0.161, abs=0.0005)


def check_against_our_transform(path: Path, center: tuple[float, float, float]) -> None:
    """Markers of a cube, seen by XMALab's own matrices: our direct linear transform gives back K, R and t, and a view with its residual."""
    camera = read_xmalab_camera(path)
    points = np.array(center) + np.random.default_rng(1).uniform(-60, 60, (20, 3))
    pixels = camera.project(points)
    pinhole = decomposed(projection_matrix(points, pixels), points)
    matrix, source = camera.camera_matrix, -camera.rotation.T @ camera.translation
    np.testing.assert_allclose(pinhole.focal, (matrix[1, 1], matrix[0, 0]), rtol=1e-6)
    np.testing.assert_allclose(pinhole.principal, (matrix[1, 2], matrix[0, 2]), atol=1e-2)
    np.testing.assert_allclose(pinhole.source, source, atol=1e-3)
    # Rows of `axes`: down, across, away; of R: across, down, away.
    np.testing.assert_allclose(pinhole.axes[[1, 0, 2]], camera.rotation, atol=1e-6)
    # The rows and columns of this detector differ in pitch; told so, a view fits to what the markers were picked to.
    pitch = (1000.0 / matrix[1, 1], 1000.0 / matrix[0, 0])
    picked = pixels + np.random.default_rng(2).normal(0, 0.1, pixels.shape)
    found = view_from_markers("cam", points, picked, camera.rows, camera.columns, pitch, 1000.0)
    assert found.noise_px == pytest.approx(0.1, rel=0.4) and not found.outliers
    exact = view_from_xmalab(camera, "cam", 1000.0)
    # A ray through the middle of the cube, wherever the source slid along it.
    seen = found.view.project(points)[0] - exact.project(points)[0]
    assert np.sqrt((seen**2).sum(axis=1).mean()) < 0.15


def test_our_transform_agrees_with_xmalab_on_files_of_our_own(cameras: list[Path]) -> None:
    for path in cameras:
        check_against_our_transform(path, CUBE.center)


def test_our_transform_agrees_with_xmalab_on_the_real_calibration(shared_data: Path) -> None:
    for index in (1, 2):
        path = shared_data / "xray_autoscoper" / f"xr_calib_left_knee_cam0{index}.txt"
        check_against_our_transform(path, (130.0, 120.0, 50.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("rotation", "turn"), "no usable 'rotation'"),
        (lambda text: text[: len(text) // 2], "no usable"),
        (lambda text: text.replace("8600.0,0.0", "8600.0,3.0"), "skewed"),
        (lambda text: text.replace("8600.0", "-8600.0"), "camera matrix"),
        (lambda text: text.replace("1200,900", "0,900"), "0 x 900"),
        (lambda text: text.replace("8600.0", "nan"), "no usable 'camera matrix'"),
        (lambda text: "", "no usable"),
    ],
)
def test_unusable_camera_files(cameras: list[Path], change: Callable[[str], str], words: str) -> None:
    text = cameras[0].read_text()
    assert change(text) != text
    cameras[0].write_text(change(text))
    with pytest.raises(InputError, match=rf"cam1\.txt.*{words}"):
        read_xmalab_camera(cameras[0])


def test_a_mirrored_rotation_is_refused(tmp_path: Path) -> None:
    rotation, translation = looking_at_the_cube(0)
    matrix = np.diag([8000.0, 8000.0, 1.0])
    (tmp_path / "cam.txt").write_text(camera_text(matrix, np.diag([-1.0, 1, 1]) @ rotation, translation))
    with pytest.raises(InputError, match="not a rotation"):
        read_xmalab_camera(tmp_path / "cam.txt")


def test_transforms_from_files(tmp_path: Path) -> None:
    path = tmp_path / "transform.txt"
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    np.savetxt(path, matrix)
    np.testing.assert_allclose(read_transform(path), matrix)
    for bad, words in (
        (np.diag([2.0, 2, 2, 1]), "only turn"),
        (np.diag([-1.0, 1, 1, 1]), "only turn"),
        (np.eye(3), "9 numbers"),
    ):
        np.savetxt(path, bad)
        with pytest.raises(InputError, match=words):
            read_transform(path)
    path.write_text("one two")
    with pytest.raises(InputError, match="16 numbers"):
        read_transform(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_transform(tmp_path / "absent.txt")


def test_unusable_rigs(cameras: list[Path]) -> None:
    with pytest.raises(InputError, match="two or more"):
        rig_from_xmalab(cameras[:1], CUBE)
    with pytest.raises(InputError, match="parallel"):
        rig_from_xmalab([cameras[0], cameras[0]], CUBE)
    with pytest.raises(InputError, match="behind the source"):
        rig_from_xmalab(cameras, FieldOfView((20.0, -5000.0, 40.0), 160.0))


def test_the_command_writes_the_rig_of_two_cameras(cameras: list[Path], tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    rig_command.add_arguments(parser)
    out = tmp_path / "rig.json"
    center = [str(value) for value in CUBE.center]
    words = ["xmalab", *map(str, cameras), "--center", *center, "--size", "120", "--out", str(out)]
    facts = rig_command.run(parser.parse_args(words))
    rig = Rig.load(out)
    assert rig.field_of_view == FieldOfView(CUBE.center, 120.0) and facts["rig"] == str(out)
    np.testing.assert_allclose(
        rig.views[1].project(POINTS)[0], read_xmalab_camera(cameras[1]).project(POINTS), atol=1e-7
    )
