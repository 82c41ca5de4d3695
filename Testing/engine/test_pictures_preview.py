"""The preview shows the radiographs, the bones in their colours and the side; it needs only VTK."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh

from SSRKDCore.anatomy import bone
from SSRKDCore.geometry.presets import preset
from SSRKDCore.pictures.distance_picture import color_range, write_distance_picture
from SSRKDCore.pictures.preview import write_preview
from SSRKDCore.pictures.render import RenderingUnavailable, off_screen_window
from SSRKDCore.surface import Surface


@pytest.fixture(autouse=True)
def _drawing() -> None:
    try:
        off_screen_window(8, 8)
    except RenderingUnavailable as error:
        pytest.skip(str(error))


def ball(radius: float, center: tuple[float, float, float], scale: tuple[float, float, float] = (1, 1, 1)) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Surface(mesh.vertices * np.array(scale) + np.array(center), mesh.faces)


# A right knee: the fibula lies lateral (-x) of and behind (+y) the tibia, the patella in front (-y).
KNEE = {
    "femur": ball(20.0, (0.0, 0.0, 35.0), (1, 1, 1.5)),
    "tibia": ball(18.0, (0.0, 0.0, -35.0), (1, 1, 1.5)),
    "fibula": ball(7.0, (-32.0, 15.0, -40.0), (1, 1, 4)),
    "patella": ball(9.0, (3.0, -35.0, 25.0)),
}


def read_png(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(float)


def near_color(picture: np.ndarray, name: str) -> np.ndarray:
    """Pixels of a bone's hue, whatever their shading."""
    color = np.array(bone(name).color)
    brightness = picture.max(axis=2, keepdims=True)
    hue = picture / np.maximum(brightness, 1)
    return (np.abs(hue - color / color.max()) < 0.06).all(axis=2) & (brightness[..., 0] > 60)


def panels(path: Path) -> list[np.ndarray]:
    picture = read_png(path)[:600]
    return [picture[:, start : start + 440] for start in range(0, picture.shape[1], 440)]


def test_preview_shows_every_bone_where_it_is(tmp_path: Path) -> None:
    rig = preset("room", rows=300, columns=300, pixel_spacing=(1.4, 1.4))
    images = [np.tile(np.linspace(0.0, 3.0, 300, dtype=np.float32), (300, 1)) for _ in rig.views]
    path = tmp_path / "vorschau é.png"
    write_preview(path, KNEE, images, rig.views, rig.field_of_view, "right")
    ap, lateral, front, side = panels(path)
    for panel in (ap, lateral, front, side):
        for name in KNEE:
            assert near_color(panel, name).sum() > 30, name
    # Seen from the front the patient's right, with the fibula, is at the left; the femur is above.
    for panel in (ap, front):
        columns = {name: np.argwhere(near_color(panel, name)[80:520])[:, 1].mean() for name in KNEE}
        rows = {name: np.argwhere(near_color(panel, name)[80:520])[:, 0].mean() for name in KNEE}
        assert columns["fibula"] < columns["tibia"] - 30
        assert rows["femur"] < rows["tibia"] - 60
    # A right knee seen from its lateral (right) side looks to the right.
    columns = {name: np.argwhere(near_color(side, name)[80:520])[:, 1].mean() for name in ("patella", "femur")}
    assert columns["patella"] > columns["femur"] + 30
    # The marker R stands in the upper left corner of the AP view, where the lateral side is; a left knee has L at the
    # right.
    assert ap[10:50, :60].max() > 200
    assert ap[10:50, 380:].max() < ap[10:50, :60].max()
    mirrored = {name: item.transformed(np.diag([-1.0, 1, 1, 1])) for name, item in KNEE.items()}
    left = tmp_path / "left.png"
    write_preview(left, mirrored, [image * 0 for image in images], rig.views, rig.field_of_view, "left")
    ap = panels(left)[0]
    assert ap[10:50, 380:].max() > 200 and ap[10:50, :60].max() < 60


def test_outlines_lie_on_the_projection_of_the_bone(tmp_path: Path) -> None:
    """The femur's projected centre is the middle of its outline, at the picture's scale."""
    rig = preset("room", rows=300, columns=300, pixel_spacing=(1.4, 1.4))
    images = [np.zeros((300, 300), dtype=np.float32) for _ in rig.views]
    path = tmp_path / "preview.png"
    femur = ball(15.0, (20.0, -10.0, 30.0))
    write_preview(path, {"femur": femur}, images, rig.views, rig.field_of_view)
    for panel, view in zip(panels(path)[:2], rig.views, strict=True):
        found = np.argwhere(near_color(panel, "femur")[70:530])
        found[:, 0] += 70
        middle = (found.min(axis=0) + found.max(axis=0)) / 2
        corners, _ = view.project(rig.field_of_view.corners)
        low, high = corners.min(axis=0), corners.max(axis=0)
        scale = min(600 / (high - low)[0], 440 / (high - low)[1])
        shadow, _ = view.project(femur.vertices)
        expected = (
            np.array([(shadow[:, i].min() + shadow[:, i].max()) / 2 for i in (0, 1)]) - (low + high) / 2
        ) * scale
        np.testing.assert_allclose(middle - [300, 220], expected, atol=2.0)


def test_preview_without_bones_or_with_odd_images(tmp_path: Path) -> None:
    rig = preset("room", rows=60, columns=60, pixel_spacing=(7.0, 7.0))
    path = tmp_path / "preview.png"
    images = [np.full((60, 60), np.nan, dtype=np.float32), np.ones((60, 60), dtype=np.float32)]
    write_preview(path, {"femur": Surface.empty()}, images, rig.views, rig.field_of_view)
    assert read_png(path).shape == (640, 4 * 440, 3)
    with pytest.raises(ValueError, match="pixels"):
        write_preview(path, {}, [image[:30] for image in images], rig.views)
    with pytest.raises(ValueError, match="one radiograph"):
        write_preview(path, {}, images[:1], rig.views)


def test_distance_picture_is_red_outside_blue_inside_grey_unscored(tmp_path: Path) -> None:
    """A ball whose patient-left half lies outside the reference (+), the right half inside (-), the top not scored."""
    surface = ball(30.0, (0.0, 0.0, 0.0))
    distances = np.where(surface.vertices[:, 0] > 0, 2.0, -2.0)
    distances[surface.vertices[:, 2] > 18.0] = np.nan
    path = tmp_path / "distances.png"
    write_distance_picture(path, surface, distances, "Femur: signed distance", "exact ASSD 2.00 mm")
    picture = read_png(path)
    front = picture[84:, :340]
    red = (front[..., 0] > front[..., 2] + 60).nonzero()
    blue = (front[..., 2] > front[..., 0] + 60).nonzero()
    assert len(red[0]) > 2000 and len(blue[0]) > 2000
    # Seen from the front, the patient's left is at the right.
    assert red[1].mean() > blue[1].mean() + 50
    spread = front.max(axis=2) - front.min(axis=2)
    grey = ((spread < 4) & (front[..., 0] > 60) & (front[..., 0] < 200)).nonzero()
    assert len(grey[0]) > 500 and grey[0].mean() < red[0].mean() - 30
    # The colour bar is at the right, red end on top.
    bar = picture[84:, 1360:]
    assert (bar[..., 0] > bar[..., 2] + 100).nonzero()[0].mean() < (bar[..., 2] > bar[..., 0] + 100).nonzero()[0].mean()


def test_color_range_is_round_and_holds_nearly_all() -> None:
    assert color_range(np.array([0.0, -1.4, np.nan, 1.2])) == 2.0
    assert color_range(np.full(1000, 0.04)) == 0.1
    assert color_range(np.array([np.nan])) == 0.1
    assert color_range(np.array([140.2, 140.2])) == 141.0
    mostly = np.full(1000, 0.9)
    mostly[:5] = 80.0
    assert color_range(mostly) == 1.0


def test_distance_picture_refuses_what_does_not_fit(tmp_path: Path) -> None:
    surface = ball(3.0, (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="one distance for each"):
        write_distance_picture(tmp_path / "x.png", surface, np.zeros(3), "x")
    with pytest.raises(ValueError, match="one distance for each"):
        write_distance_picture(tmp_path / "x.png", Surface.empty(), np.zeros(0), "x")


def test_a_machine_without_opengl_gets_a_message_not_a_crash(repository: Path) -> None:
    """VTK is told to use OSMesa; where that library is missing, VTK itself would end the process with a segmentation
    fault.
    """
    code = (
        "from SSRKDCore.pictures.render import off_screen_window, rendered, RenderingUnavailable\n"
        "try:\n    print(rendered(off_screen_window(20, 10)).shape)\n"
        "except RenderingUnavailable as error:\n    print(error)\n"
    )
    environment = {**os.environ, "VTK_DEFAULT_OPENGL_WINDOW": "vtkOSOpenGLRenderWindow", "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no OpenGL" in done.stdout or "(10, 20, 3)" in done.stdout
