"""A rig from an object: what its markers leave open is said and limited, and they are told apart where they can be."""

from __future__ import annotations

from dataclasses import replace

import calibration_scenes as scenes
import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.geometry import Rig, preset
from SSRKDCore.geometry.calibration.marker_matching import match_markers
from SSRKDCore.geometry.calibration.marker_object import MarkerObject
from SSRKDCore.geometry.calibration.object_rig import ObjectImage, calibrated_view, rig_from_object
from SSRKDCore.geometry.calibration.object_uncertainty import view_uncertainty
from SSRKDCore.geometry.calibration.view_refinement import view_from_markers
from SSRKDCore.geometry.known_geometry import geometry_doubts
from SSRKDCore.geometry.view import View


def cage(seed: int) -> MarkerObject:
    markers = scenes.marker_cage(seed)
    return MarkerObject(tuple(markers), np.array(list(markers.values())), 4.0)


def radiograph_of(view: View, markers: MarkerObject) -> ObjectImage:
    image = np.random.default_rng(0).normal(1.0, 0.02, (view.rows, view.columns))
    for point in markers.points:
        image += 0.3 * scenes.sphere_chords(view, point, 2.0)
    return ObjectImage(view.name, f"{view.name}.dcm", image, view.pixel_spacing, None)


def picked(rig: Rig, markers: MarkerObject, noise: float, seed: int = 0) -> list[ObjectImage]:
    """Markers picked to `noise` pixels in images that show none to move them to."""
    generator = np.random.default_rng(seed)
    images = []
    for view in rig.views:
        places = view.project(markers.points)[0] + generator.normal(0.0, noise, (len(markers.points), 2))
        flat = generator.normal(1.0, 0.02, (view.rows, view.columns))
        names = dict(zip(markers.names, places.tolist(), strict=True))
        images.append(ObjectImage(view.name, f"{view.name}.dcm", flat, view.pixel_spacing, None, names))
    return images


@pytest.mark.parametrize(("seed", "name"), [(6, "ap"), (6, "lateral"), (7, "ap"), (2, "lateral")])
def test_markers_are_told_apart_where_some_are_hidden_or_outside(seed: int, name: str) -> None:
    """Between two views that these eight to eleven discs might be of, only one has them to a fraction of a pixel; and of two markers
    on one disc the view is the same whichever of them it is taken for."""
    view = preset("c_arm", rows=800, columns=800).view(name)
    fit = calibrated_view(radiograph_of(view, cage(seed)), cage(seed), "bright")
    assert fit.noise_px < 0.3
    assert fit.view.source_to_detector == pytest.approx(view.source_to_detector, rel=6e-3)
    assert fit.view.magnification([0, 0, 0]) == pytest.approx(view.magnification([0, 0, 0]), rel=2e-3)


def test_a_match_that_few_discs_allow_by_chance_is_refused() -> None:
    """Six of these eight discs lay on markers of another view, to one pixel."""
    view = preset("c_arm", rows=800, columns=800).view("lateral")
    image = radiograph_of(view, cage(11))
    try:
        fit = calibrated_view(image, cage(11), "bright")
    except InputError as error:
        assert "pick the markers" in str(error)
    else:
        assert fit.view.source_to_detector == pytest.approx(view.source_to_detector, rel=6e-3)


@pytest.mark.parametrize("seed", range(8))
def test_a_cage_without_symmetry_is_told_apart_within_noise(seed: int) -> None:
    points = cage(seed).points
    pixels = preset("room").view("ap").project(points)[0]
    noise = np.random.default_rng(seed).normal(0.0, 0.3, pixels.shape)
    order = np.random.default_rng(seed).permutation(len(points))
    matching = match_markers(points, (pixels + noise)[order])
    assert len(matching.markers) >= 8
    np.testing.assert_array_equal(order[matching.discs], matching.markers)


def test_the_stated_uncertainty_is_that_of_repeated_noise() -> None:
    view, points = preset("room").view("lateral"), cage(5).points
    exact = view.project(points)[0]
    generator = np.random.default_rng(1)
    outside = {"scale": 0, "distance": 0, "direction": 0}
    for _ in range(100):
        seen = exact + generator.normal(0.0, 0.5, exact.shape)
        fit = view_from_markers("lateral", points, seen, view.rows, view.columns, view.pixel_spacing)
        known = view_uncertainty(fit, [0, 0, 0], 160.0)
        beam = np.array(fit.view.normal)
        scales = [
            100 * abs(fit.view.magnification(place) / view.magnification(place) - 1)
            for place in (np.zeros(3), 80 * beam, -80 * beam)
        ]
        outside["scale"] += bool(max(scales) > known.magnification_percent)
        error = 100 * abs(fit.view.source_to_detector / view.source_to_detector - 1)
        outside["distance"] += error > known.distance_percent
        # Turned up or down; the figure is of each turn.
        up = [place @ np.array(view.row_direction) / np.linalg.norm(place) for place in (fit.view.source, view.source)]
        outside["direction"] += bool(np.degrees(abs(up[0] - up[1])) > known.direction_degrees)
    # 5 % of each, and more of the largest of several; 100 draws tell it to some 3 %.
    assert all(count <= 15 for count in outside.values()), outside
    assert sum(outside.values()) >= 2, "the uncertainty is stated too large"


def test_a_rig_of_carefully_picked_markers_states_what_it_knows() -> None:
    room = preset("room")
    record, rig = rig_from_object(picked(room, cage(5), 0.3), cage(5))
    for view in rig.views:
        stated = record.uncertainty[f"{view.name}_distance_percent_95"]
        true = room.view(view.name)
        assert 0.5 < stated < 4
        assert abs(view.source_to_detector / true.source_to_detector - 1) * 100 < 2 * stated
        assert record.uncertainty[f"{view.name}_magnification_percent_95"] < 1
    assert record.uncertainty["lateral_height_mm_95"] < 1.5
    assert "ap_height_mm_95" not in record.uncertainty
    assert geometry_doubts(rig) == []
    assert rig.provenance["calibrations"][-1]["uncertainty"] == record.uncertainty


def _stated(room: Rig, factor: float, seed: int) -> list[ObjectImage]:
    """Images whose files state distances that are longer by a factor than they are."""
    images = picked(room, cage(5), 0.3, seed)
    distances = [factor * view.source_to_detector for view in room.views]
    return [replace(image, source_to_detector=mm) for image, mm in zip(images, distances, strict=True)]


@pytest.mark.parametrize("factor", [0.93, 1.07])
def test_a_stated_distance_that_the_markers_contradict_is_told_and_is_part_of_what_is_not_known(factor: float) -> None:
    room = preset("room")
    record, rig = rig_from_object(_stated(room, factor, 0), cage(5))
    way = "longer" if factor > 1 else "shorter"
    for view in room.views:
        found = rig.view(view.name)
        beam = np.array(view.normal)
        # In pixels a mm, which is what is seen.
        scales = [found.magnification(z * beam) / view.magnification(z * beam) - 1 for z in (-80.0, 0.0, 80.0)]
        (told,) = (words for words in record.warnings if view.name in words)
        assert "the stated source-to-detector distance is" in told and f"% {way} than the markers tell" in told
        stated = record.uncertainty[f"{view.name}_magnification_percent_95"]
        assert 100 * max(map(abs, scales)) < stated < 2.0
        assert record.uncertainty[f"{view.name}_distance_percent_95"] > 3.0
        assert f"distance of view '{view.name}' are right" in " ".join(record.assumed)
    # A magnification within 2 % costs no light.
    assert geometry_doubts(rig) == []


def test_a_stated_distance_that_is_right_is_mostly_believed() -> None:
    room = preset("room")
    told = 0
    for seed in range(20):
        record, _ = rig_from_object(_stated(room, 1.0, seed), cage(5))
        told += sum("than the markers tell" in words for words in record.warnings)
        assert record.uncertainty["ap_magnification_percent_95"] < 1.0
    # One of 100 views.
    assert told <= 2


def test_a_distance_that_the_markers_leave_open_hardly_changes_the_magnification() -> None:
    """The light goes by the magnification: markers of 120 mm picked to a pixel leave a distance wrong by some percent, and what a knee
    of 160 mm about them looks like hardly changes."""
    room, errors = preset("room"), []
    for seed in range(12):
        _, rig = rig_from_object(picked(room, cage(5), 1.0, seed), cage(5))
        assert geometry_doubts(rig) == []
        for view in room.views:
            found, beam = rig.view(view.name), np.array(view.normal)
            distance = 100 * abs(found.source_to_detector / view.source_to_detector - 1)
            scales = [found.magnification(z * beam) / view.magnification(z * beam) - 1 for z in (-80.0, 0.0, 80.0)]
            errors.append((distance, 100 * max(map(abs, scales))))
    assert max(distance for distance, _ in errors) > 3.5
    assert max(scale for _, scale in errors) < 1.0


def test_poorly_picked_markers_are_told_then_doubted_then_refused() -> None:
    room, markers = preset("room"), cage(5)
    record, rig = rig_from_object(picked(room, markers, 1.0), markers)
    assert any("source-to-detector distance to" in words and "% only" in words for words in record.warnings)
    record, rig = rig_from_object(picked(room, markers, 1.6, 3), markers)
    (doubt, *_) = geometry_doubts(rig)
    assert not doubt.serious and "open by" in doubt.words
    with pytest.raises(InputError, match=r"leave the (magnification|height) of view|scatter by|from where any view"):
        rig_from_object(picked(room, markers, 3.0), markers)
    with pytest.raises(InputError, match=r"magnification of view 'ap' open by 0\.\d % \(95 %\), more than 0\.01"):
        rig_from_object(picked(room, markers, 0.3), markers, limit_percent=0.01)


def test_markers_scattered_by_pixels_are_no_markers() -> None:
    """Fine pixels: far off in pixels, though not in millimetres."""
    view = preset("room", pixel_spacing=(0.1, 0.1), rows=3000, columns=3000).view("ap")
    (image,) = picked(replace(preset("room"), views=(view,)), cage(5), 8.0)
    with pytest.raises(InputError, match="scatter by"):
        calibrated_view(image, cage(5), "bright")
