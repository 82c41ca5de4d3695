"""What the calibration tests look at: shadows of spheres, computed analytically or by the projector, and a marker object."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from SSRKDCore.geometry.presets import central_view
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]


def ap_view(rows: int = 400, columns: int = 440, to_isocentre: float = 1000.0, to_detector: float = 1150.0) -> View:
    """An AP view with pixels of 0.4 mm, about the origin."""
    beam, across, down = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])
    return central_view("ap", beam, across, down, to_isocentre, to_detector, (0.4, 0.4), rows, columns)


def sphere_chords(view: View, center: ArrayLike, radius: float) -> Array:
    """(rows, columns) mm that each ray passes inside a sphere."""
    rows, columns = np.meshgrid(np.arange(view.rows), np.arange(view.columns), indexing="ij")
    rays = view.pixel_position(rows, columns) - np.array(view.source)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    towards = np.asarray(center, dtype=np.float64) - np.array(view.source)
    nearest = towards @ towards - (rays @ towards) ** 2
    return 2 * np.sqrt(np.clip(radius**2 - nearest, 0.0, None))


def with_ball(
    image: Array, view: View, center: ArrayLike, diameter: float, per_mm: float, limit: float, seed: int
) -> Array:
    """The image with a ball's shadow in it that saturates at `limit`, blurred by 0.8 pixels, with noise of 0.01."""
    shadow = -limit * np.expm1(-per_mm * sphere_chords(view, center, diameter / 2) / limit)
    noise = np.random.default_rng(seed).normal(0.0, 0.01, image.shape)
    return gaussian_filter(image + shadow, 0.8) + noise


def marker_cage(seed: int = 5) -> dict[str, list[float]]:
    """Twelve markers without symmetry in a cube of about 120 mm."""
    generator = np.random.default_rng(seed)
    corners = np.array([[x, y, z] for x in (-50, 50) for y in (-40, 40) for z in (-50, 0, 50)], dtype=np.float64)
    return {f"m{i}": point.tolist() for i, point in enumerate(corners + generator.uniform(-9, 9, corners.shape))}
