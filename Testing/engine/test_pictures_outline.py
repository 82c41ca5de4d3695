"""Shadows and outlines lie where the view projects the bone."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.view import View
from SSRKDCore.pictures.outline import ShadowRenderer, mask_outline
from SSRKDCore.pictures.render import RenderingUnavailable
from SSRKDCore.surface import Surface


def sphere(radius: float, center: tuple[float, float, float]) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Surface(mesh.vertices + np.array(center), mesh.faces)


def whole(view: View) -> np.ndarray:
    return np.array([[-0.5, -0.5], [view.rows - 0.5, view.columns - 0.5]])


def shadows(view: View, rectangle: np.ndarray, width: int, height: int) -> ShadowRenderer:
    try:
        return ShadowRenderer(view, rectangle, width, height)
    except RenderingUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["ap", "lateral"])
def test_shadow_of_a_sphere_is_where_its_rays_go(name: str) -> None:
    """Ray by ray: a pixel is dark when the line from the source to it passes the centre closer than the radius."""
    view = preset("room", rows=120, columns=100, pixel_spacing=(3.0, 3.5)).view(name)
    center, radius = np.array([18.0, -31.0, 40.0]), 25.0
    seen = shadows(view, whole(view), 100, 120).shadow(sphere(radius, (18.0, -31.0, 40.0)))
    rows, columns = np.meshgrid(np.arange(120), np.arange(100), indexing="ij")
    rays = view.pixel_position(rows, columns) - np.array(view.source)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    offset = np.linalg.norm(np.cross(center - np.array(view.source), rays), axis=-1)
    expected = offset < radius
    # Only pixels on the edge may differ: the mesh is 0.1 mm flat, and centres on the line fall either way.
    assert expected.sum() > 150
    assert np.count_nonzero(seen != expected) <= 0.03 * expected.sum()


def test_outline_is_in_image_pixels_also_in_a_part_of_the_image() -> None:
    view = preset("room", rows=120, columns=100, pixel_spacing=(3.0, 3.5)).view("ap")
    center = (18.0, -31.0, 40.0)
    rectangle = np.array([[20.0, 15.0], [100.0, 90.0]])
    outline = shadows(view, rectangle, 375, 400).outline(sphere(25.0, center)).reshape(-1, 2)
    rays = view.pixel_position(outline[:, 0], outline[:, 1]) - np.array(view.source)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    offset = np.linalg.norm(np.cross(np.array(center) - np.array(view.source), rays), axis=-1)
    # A picture pixel is 0.2 image pixels or 0.7 mm on the detector, 0.6 mm at the knee.
    np.testing.assert_allclose(offset, 25.0, atol=0.8)
    assert abs(offset.mean() - 25.0) < 0.2


def test_what_lies_behind_the_source_casts_no_shadow() -> None:
    view = preset("room", rows=60, columns=60, pixel_spacing=(7.0, 7.0)).view("ap")
    behind = np.array(view.source) - 100.0 * view.normal
    x, y, z = behind
    assert not shadows(view, whole(view), 60, 60).shadow(sphere(20.0, (x, y, z))).any()


def test_mask_outline_surrounds_the_mask() -> None:
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:20, 15:35] = True
    lines = mask_outline(mask)
    points = lines.reshape(-1, 2)
    np.testing.assert_allclose(points.min(axis=0), [10, 15], atol=0.3)
    np.testing.assert_allclose(points.max(axis=0), [20, 35], atol=0.3)
    # Closed: every end is met twice.
    _, counts = np.unique(points.round(6), axis=0, return_counts=True)
    assert (counts == 2).all()
    assert mask_outline(np.zeros((5, 5), dtype=bool)).shape == (0, 2, 2)
