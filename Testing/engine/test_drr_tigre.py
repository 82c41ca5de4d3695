"""Our views in TIGRE's terms, the fall-back where TIGRE or a GPU is missing, and TIGRE itself where both are there."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from SSRKDCore.drr import siddon, tigre_backend
from SSRKDCore.drr.projector import available_backends, choose_backend, project
from SSRKDCore.drr.tigre_geometry import (
    NotExpressible,
    TigreGeometry,
    gantry_angles,
    gantry_rotation,
    source_and_pixels,
    tigre_geometry,
)
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.presets import central_view, preset, published_rig
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid

GRID = Grid((-18.0, -33.0, 12.0), (1.1, 0.9, 0.7), (40, 50, 60))


def views() -> list[View]:
    """Straight, oblique, decentred, with unequal pixels, mirrored and turned image axes."""
    found = [*preset("room", "left").views, *preset("c_arm").views, *published_rig((17.0, 106.0)).views]
    generator = np.random.default_rng(7)
    for number in range(6):
        beam = generator.normal(size=3)
        beam /= np.linalg.norm(beam)
        across = np.cross(beam, generator.normal(size=3))
        across /= np.linalg.norm(across)
        down = np.cross(beam, across) * (-1 if number % 2 else 1)
        view = central_view(f"any{number}", beam, across, down, 600.0, 950.0, (0.7, 0.4), 90, 120, (4.0, -8.0, 20.0))
        found.append(view.cropped(11, 5, 70, 110))
    return found


@pytest.mark.parametrize("view", views(), ids=lambda view: view.name)
def test_tigre_puts_source_and_pixels_where_the_view_has_them(view: View) -> None:
    geometry = tigre_geometry(view, GRID)
    source, pixels = source_and_pixels(geometry)
    center = GRID.bounds.mean(axis=0)
    rows, columns = np.meshgrid(np.arange(view.rows), np.arange(view.columns), indexing="ij")
    expected = view.pixel_position(rows, columns) - center
    np.testing.assert_allclose(source, np.array(view.source) - center, atol=1e-6)
    np.testing.assert_allclose(pixels[:, ::-1] if geometry.reverse_columns else pixels, expected, atol=1e-6)
    assert geometry.volume_shape == GRID.shape
    assert geometry.volume_spacing == (0.7, 0.9, 1.1), "TIGRE orders z, y, x"


def test_tigres_own_default_geometry() -> None:
    """The released code's setting, in TIGRE's own words: source on +x, detector on -x, columns along +y, first row
    lowest."""
    geometry = TigreGeometry(
        1000.0, 2000.0, (0.0, 0.0, 0.0), (4, 4, 4), (1, 1, 1), (0, 0, 0), (2, 2), (3.0, 5.0), (0, 0)
    )
    source, pixels = source_and_pixels(geometry)
    np.testing.assert_allclose(source, [1000.0, 0, 0])
    np.testing.assert_allclose(pixels[0, 0], [-1000.0, -2.5, -1.5])
    np.testing.assert_allclose(pixels[1, 1], [-1000.0, 2.5, 1.5])
    turned = replace(
        geometry, angles=(np.pi / 2, 0.0, 0.0), volume_offset=(1.0, 2.0, 3.0), detector_offset=(10.0, 20.0)
    )
    source, pixels = source_and_pixels(turned)
    np.testing.assert_allclose(source, [-3.0, 998.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(pixels[0, 0], [-17.5 - 3.0, -1000.0 - 2.0, 8.5 - 1.0], atol=1e-9)
    rolled = source_and_pixels(replace(geometry, detector_rotation=(np.pi / 2, 0.0, 0.0)))[1]
    np.testing.assert_allclose(rolled[0, 0], [-1000.0, 1.5, -2.5], atol=1e-9)


def test_angles_give_back_any_rotation() -> None:
    generator = np.random.default_rng(2)
    rotations = [gantry_rotation(tuple(generator.uniform(-3, 3, 3))) for _ in range(50)]
    rotations += [np.diag(signs) for signs in ([1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1])]
    for rotation in rotations:
        np.testing.assert_allclose(gantry_rotation(gantry_angles(rotation)), rotation, atol=1e-8)


def test_what_tigre_cannot_express() -> None:
    inside = View("inside", (0.0, -18.0, 20.0), (-4.0, 900.0, 20.0), (1, 0, 0), (0, 0, -1), (1, 1), 8, 8)
    with pytest.raises(NotExpressible, match="reaches into the volume"):
        tigre_geometry(inside, GRID)
    angle = 1e-3
    skew = View(
        "skew", (0, -900, 20), (-400, 900, 420), (np.cos(angle), 0, np.sin(angle)), (0, 0, -1), (0.2, 0.2), 4000, 4000
    )
    with pytest.raises(NotExpressible, match="not perpendicular"):
        tigre_geometry(skew, GRID)


def fake_tigre(monkeypatch: pytest.MonkeyPatch, gpus: list[str], forwarded: list[object]) -> None:
    """A stand-in with TIGRE's names, whose projector traces the geometry that it was given."""

    def forward(volume: np.ndarray, geometry: types.SimpleNamespace, angles: np.ndarray) -> np.ndarray:
        forwarded.append(geometry)
        ours = TigreGeometry(
            geometry.DSO,
            geometry.DSD,
            tuple(angles[0]),
            tuple(geometry.nVoxel),
            tuple(geometry.dVoxel),
            tuple(geometry.offOrigin),
            tuple(geometry.nDetector),
            tuple(geometry.dDetector),
            tuple(geometry.offDetector),
        )
        source, pixels = source_and_pixels(ours)
        nz, ny, nx = volume.shape
        step = geometry.dVoxel[::-1]
        centred = Grid(tuple(-(np.array([nx, ny, nz]) - 1) / 2 * step), tuple(step), volume.shape)
        across, down = pixels[0, 1] - pixels[0, 0], pixels[1, 0] - pixels[0, 0]
        view = View(
            "tigre",
            tuple(source),
            tuple(pixels[0, 0]),
            tuple(across / np.linalg.norm(across)),
            tuple(down / np.linalg.norm(down)),
            (float(np.linalg.norm(down)), float(np.linalg.norm(across))),
            *pixels.shape[:2],
        )
        return siddon.line_integrals(volume, centred, view)[None]

    module = types.ModuleType("tigre")
    module.Ax, module.geometry = forward, types.SimpleNamespace  # type: ignore[attr-defined]
    gpu = types.ModuleType("tigre.utilities.gpu")
    gpu.getGpuNames = lambda: gpus  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tigre", module)
    monkeypatch.setitem(sys.modules, "tigre.utilities", types.ModuleType("tigre.utilities"))
    monkeypatch.setitem(sys.modules, "tigre.utilities.gpu", gpu)


def test_the_backend_hands_tigre_what_gives_our_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a stand-in with TIGRE's conventions, every view comes out as the CPU computes it, the right way round."""
    forwarded: list[object] = []
    fake_tigre(monkeypatch, ["one"], forwarded)
    volume = np.random.default_rng(1).random(GRID.shape).astype(np.float32)
    for view in views()[-4:]:
        assert choose_backend("auto", [view], GRID).name == "tigre"
        expected = siddon.line_integrals(volume, GRID, view)
        # float32 angles move rays by micrometres.
        np.testing.assert_allclose(project(volume, GRID, view), expected, atol=2e-2)
        assert np.abs(project(volume, GRID, view) - expected).sum() < 1e-4 * expected.sum()
    assert len(forwarded) == 8


def test_fall_back_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    view = views()[0]
    monkeypatch.setitem(sys.modules, "tigre", None)
    choice = choose_backend("auto", [view], GRID)
    assert choice.name == "siddon"
    assert choice.message is not None and "not installed" in choice.message and "CPU" in choice.message
    with pytest.raises(InputError, match="not installed"):
        choose_backend("tigre", [view], GRID)
    assert choose_backend("siddon", [view], GRID).message is None
    assert available_backends()["siddon"] is None

    monkeypatch.setitem(sys.modules, "tigre", types.ModuleType("tigre"))
    assert "unrelated" in (available_backends()["tigre"] or ""), "PyPI's placeholder is not TIGRE"

    fake_tigre(monkeypatch, [], [])
    assert "no CUDA device" in (choose_backend("auto", [view], GRID).message or "")
    fake_tigre(monkeypatch, ["one"], [])
    inside = View("inside", (0.0, -18.0, 20.0), (-4.0, 900.0, 20.0), (1, 0, 0), (0, 0, -1), (1, 1), 8, 8)
    assert "reaches into the volume" in (choose_backend("auto", [view, inside], GRID).message or "")
    with pytest.raises(InputError, match="no projector 'cuda'"):
        choose_backend("cuda", [view], GRID)


def test_projecting_a_rig_gives_each_view_by_name() -> None:
    rig = preset("room", "right", pixel_spacing=(8.0, 8.0), rows=20, columns=24)
    volume = np.random.default_rng(5).random(GRID.shape)
    fractions: list[float] = []
    images = project(volume, GRID, rig, "siddon", lambda fraction, words: fractions.append(fraction))
    assert list(images) == ["ap", "lateral"]
    for view in rig.views:
        np.testing.assert_array_equal(images[view.name], siddon.line_integrals(volume, GRID, view))
    assert fractions[-1] == 1.0 and fractions == sorted(fractions)
    with pytest.raises(Cancelled):
        project(volume, GRID, rig, "siddon", cancelled=lambda: True)


@pytest.mark.parametrize("view", views(), ids=lambda view: view.name)
def test_tigre_agrees_with_the_cpu(view: View) -> None:
    reason = tigre_backend.why_unavailable()
    if reason is not None:
        pytest.skip(f"TIGRE is not compared with the CPU: {reason}")
    grid = Grid((-29.5, -29.5, -19.5), (1.0, 1.0, 1.0), (60, 60, 60))
    x, y, z = grid.axes
    distance = ((x - 6) / 20) ** 2 + (((y + 3) / 13) ** 2)[:, None] + (((z - 10) / 17) ** 2)[:, None, None]
    volume = (0.02 * (distance < 1)).astype(np.float32)
    ours, theirs = siddon.line_integrals(volume, grid, view), tigre_backend.line_integrals(volume, grid, view)
    assert np.abs(ours - theirs).sum() < 0.002 * ours.sum()
