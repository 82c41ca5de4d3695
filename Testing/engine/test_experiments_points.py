"""What the points of experiments change: rigs, exposures, projectors; and the distance of outlines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from experiment_cases import ball, grown

from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.calibration import magnified, shifted, turned
from SSRKDCore.evaluation.experiments.scatter import with_scatter
from SSRKDCore.evaluation.experiments.separation import separated
from SSRKDCore.evaluation.outline_distance import outline_distances
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("degrees", [30.0, 60.0, 90.0])
def test_views_come_together_on_their_own_side(side: str, degrees: float) -> None:
    rig = preset("room", side).translated((3.0, -4.0, 5.0))
    found = separated(rig, degrees)
    assert found.separation_degrees() == pytest.approx(degrees)
    assert found.views[0] == rig.views[0]
    center = np.array(rig.field_of_view.center)
    source, before = (np.array(r.views[1].source) - center for r in (found, rig))
    # The lateral source stays on its side of the leg, at its height and distance, and moves towards the AP one.
    assert np.sign(source[0]) == np.sign(before[0])
    assert np.linalg.norm(source) == pytest.approx(np.linalg.norm(before)) and source[2] == pytest.approx(before[2])
    assert source[1] <= before[1] + 1e-6
    pixel, _ = found.views[1].project(center)
    assert pixel == pytest.approx(rig.views[1].project(center)[0])
    if degrees == 90.0:
        assert np.allclose(found.views[1].source, rig.views[1].source)


def test_mistaken_rigs_are_off_by_what_they_say() -> None:
    rig = preset("room").translated((3.0, -4.0, 5.0))
    center = np.array(rig.field_of_view.center)
    told = turned(rig, 5.0, np.random.default_rng(0))
    cosine = (np.trace(axes(told.views[1]) @ axes(rig.views[1]).T) - 1) / 2
    assert np.degrees(np.arccos(cosine)) == pytest.approx(5.0)
    assert told.views[0] == rig.views[0]
    told = magnified(rig, 3.0, np.random.default_rng(0))
    for view, true in zip(told.views, rig.views, strict=True):
        ratio = view.magnification(center) / true.magnification(center)
        assert abs(ratio - 1.0) == pytest.approx(0.03)
        assert view.project(center)[0] == pytest.approx(true.project(center)[0])
    told = shifted(rig, 4.0, np.random.default_rng(0))
    moved = np.array(told.views[1].source) - np.array(rig.views[1].source)
    assert np.linalg.norm(moved) == pytest.approx(4.0) and abs(moved @ rig.views[1].normal) < 1e-9
    # The same case is off in the same direction whatever the amount.
    again = shifted(rig, 2.0, np.random.default_rng(0))
    assert np.array(again.views[1].source) - np.array(rig.views[1].source) == pytest.approx(moved / 2)


def axes(view: View) -> np.ndarray:
    return np.stack([view.column_direction, view.row_direction, view.normal])


def test_separation_needs_two_views() -> None:
    rig = preset("room")
    three = Rig((*rig.views, replace(separated(rig, 45.0).views[1], name="oblique")), rig.field_of_view)
    with pytest.raises(InputError, match="two"):
        separated(three, 30.0)


def test_scatter_is_a_veil_of_the_stated_amount() -> None:
    view = preset("room", rows=100, columns=100, pixel_spacing=(4.3, 4.3)).views[0]
    p = np.zeros((100, 100), np.float32)
    p[20:80, 30:70] = 2.0
    p[45:55, 45:55] = 3.0
    assert (with_scatter(p, view, 0.0) == p).all()
    found = with_scatter(p, view, 0.5)
    ratio = np.exp(-found.astype(float)) / np.exp(-p.astype(float)) - 1.0
    assert ratio[p > 0.3].mean() == pytest.approx(0.5, abs=1e-3)
    # It lowers contrast, never adds attenuation, and reaches beyond the object's shadow.
    assert (found <= p + 1e-6).all() and found[50, 50] - found[30, 50] < 1.0 - 0.1
    assert found[50, 25] < -0.001


def ball_images(rig: Rig, radius: float, center: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Line integrals of a ball of bone in closed form."""
    images = {}
    for view in rig.views:
        rows, columns = np.meshgrid(np.arange(view.rows), np.arange(view.columns), indexing="ij")
        rays = view.pixel_position(rows, columns) - np.array(view.source)
        rays /= np.linalg.norm(rays, axis=2, keepdims=True)
        to_center = np.array(center) - np.array(view.source)
        along = rays @ to_center
        squared = to_center @ to_center - along**2
        images[view.name] = 0.05 * 2 * np.sqrt(np.maximum(radius**2 - squared, 0.0))
    return images


CENTER = (4.0, -6.0, 9.0)


@pytest.fixture(scope="module")
def sharp_rig() -> Rig:
    return preset("room", rows=430, columns=430, pixel_spacing=(0.25, 0.25))


@pytest.mark.parametrize("amount", [0.0, 1.0, -1.5])
def test_outline_distance_of_a_ball(sharp_rig: Rig, amount: float) -> None:
    """A ball that is drawn larger by 1 mm lies 1 mm outside the edge that is seen, all around and in both views."""
    found = outline_distances(
        {"patella": grown(ball(20.0, CENTER, 60), amount)}, ball_images(sharp_rig, 20.0, CENTER), sharp_rig
    )
    for view in ("ap", "lateral", "all"):
        figures = found[view]["patella"]
        assert figures.found > 0.99 and figures.samples > 100
        # The blur puts the steepest fall slightly inside the edge.
        assert figures.signed_mean_mm == pytest.approx(-amount, abs=0.25)
        assert figures.mean_mm == pytest.approx(abs(amount), abs=0.25)


def test_outline_distance_of_a_shift_is_seen_across_the_rays_only(sharp_rig: Rig) -> None:
    images = ball_images(sharp_rig, 20.0, CENTER)
    moved = ball(20.0, (CENTER[0] + 3.0, CENTER[1], CENTER[2]), 60)
    found = outline_distances({"patella": moved}, images, sharp_rig)
    # Across: the mean of |3 cos| around the outline; along the lateral rays: only a little magnification.
    assert found["ap"]["patella"].mean_mm == pytest.approx(3.0 * 2 / np.pi, abs=0.3)
    assert (found["lateral"]["patella"].mean_mm or 9) < 0.35
    assert found["all"]["all"].samples == sum(found[view]["patella"].samples for view in ("ap", "lateral"))


def test_outline_without_an_edge_or_at_the_cut_is_not_made_up(sharp_rig: Rig) -> None:
    blank = {view.name: np.full((view.rows, view.columns), 1.5) for view in sharp_rig.views}
    found = outline_distances({"patella": ball(20.0, CENTER)}, blank, sharp_rig)
    assert found["all"]["all"].mean_mm is None and found["all"]["all"].found == 0.0
    cube = FieldOfView(CENTER, 25.0)
    assert outline_distances({"patella": ball(20.0, CENTER)}, blank, sharp_rig, cube)["all"]["all"].samples == 0
    assert outline_distances({"patella": Surface.empty()}, blank, sharp_rig)["all"]["all"].samples == 0
    with pytest.raises(ValueError, match="image of view"):
        outline_distances({}, {name: image[:5] for name, image in blank.items()}, sharp_rig)


def test_rtk_shows_the_same_image() -> None:
    pytest.importorskip("itk", reason="itk-rtk is not installed")
    from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk, rtk_line_integrals

    try:
        load_rtk()
    except InputError as error:
        pytest.skip(str(error))
    # A smooth bump, off the middle, of three different widths, and gone at the rim. Our voxels are boxes and RTK's are interpolated, which
    # parts them by about 4 % a ray at 1 mm and in proportion less at finer voxels.
    grid = Grid((-24.0, -26.0, -36.0), (0.25, 0.275, 0.225), (320, 168, 240))
    x, y, z = grid.axes
    distance = ((x[None, None, :] - 6) / 9) ** 2 + ((y[None, :, None] + 3) / 7) ** 2 + (z[:, None, None] / 12) ** 2
    volume = np.exp(-distance).astype(np.float32)
    view = preset("room", rows=24, columns=20, pixel_spacing=(3.7, 3.5)).views[1]
    ours, theirs = line_integrals(volume, grid, view), rtk_line_integrals(volume, grid, view)
    assert float(np.abs(ours - theirs).sum() / ours.sum()) < 0.02
    rows, columns = np.mgrid[:24, :20]
    for index in (rows, columns):
        places = [float((image * index).sum() / image.sum()) for image in (ours, theirs)]
        # In pixels of 3.5 mm.
        assert places[0] == pytest.approx(places[1], abs=0.01)
