"""What is measured of images, bones and vertices."""

from __future__ import annotations

import numpy as np
import pytest
from knee_model import knee_model, shadow_radiographs
from scipy.spatial import cKDTree
from synthetic_knee import synthetic_knee
from trust_scenes import room

from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import preset
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.surface import Surface
from SSRKDCore.trust.bone_shadows import bright_parts, growth_plate_contrast
from SSRKDCore.trust.bone_sizes import SIZE_NAMES, bone_sizes, size_vector
from SSRKDCore.trust.case_measures import Encoded, case_measures
from SSRKDCore.trust.domain_distance import fit_domain
from SSRKDCore.trust.error_model import fit_error_model
from SSRKDCore.trust.image_features import image_statistics
from SSRKDCore.trust.limits import fit_limit
from SSRKDCore.trust.nearby_values import at_all_vertices, at_vertices_of_all
from SSRKDCore.trust.vertex_terms import TERM_NAMES, sampled_vertices, vertex_terms


def test_sizes_are_extents_and_the_same_for_both_sides() -> None:
    knee = synthetic_knee(3.0)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    right = bone_sizes(knee)
    left = bone_sizes({name: surface.transformed(mirror) for name, surface in knee.items()})
    assert set(right) == set(SIZE_NAMES)
    assert right == pytest.approx(left)
    assert right["femur_width"] == pytest.approx(20.0 + 26.0 + 26.0 + 18.5, abs=2.0)
    assert right["patella_height"] == pytest.approx(38.0, abs=2.0)


def test_a_small_knee_has_small_widths_and_missing_bones_no_size() -> None:
    knee = synthetic_knee(3.0)
    small = {name: surface.transformed(np.diag([0.7, 0.7, 0.7, 1.0])) for name, surface in knee.items()}
    for name in ("patella_width", "patella_height", "patella_above"):
        assert bone_sizes(small)[name] == pytest.approx(0.7 * bone_sizes(knee)[name], rel=1e-6)
    sizes = bone_sizes({**knee, "patella": Surface.empty()})
    assert not any(name.startswith("patella") for name in sizes)
    assert np.isnan(size_vector(sizes)[SIZE_NAMES.index("patella_width")])


def test_metal_is_measured_and_bone_is_none() -> None:
    rig = room("right")
    view = network_view(rig.view("ap"), rig.field_of_view, 128)
    row, column = np.mgrid[:128, :128]
    distance = np.hypot(row - 64, column - 64)
    bone = np.maximum(0.0, 1.0 - distance / 50.0)
    found = bright_parts(bone, view, rig.field_of_view)
    assert found.metal_cm2 == 0.0 and found.one_brightness < 0.05
    metal = np.where(distance < 12.0, 4.0, bone)
    # 12 pixels' radius at the depth of the centre, where the detector's pixels are 1150 / 1000 times smaller.
    millimetres = 12.0 * view.pixel_spacing[0] / 1.15
    found = bright_parts(metal, view, rig.field_of_view)
    assert found.metal_cm2 == pytest.approx(np.pi * (millimetres / 10.0) ** 2, rel=0.05)
    assert found.one_brightness == pytest.approx(np.pi * 12.0**2 / 128**2, rel=0.1)
    assert bright_parts(np.zeros((128, 128)), view, rig.field_of_view) == (1.0, 0.0)


def test_a_leg_of_one_brightness_is_no_metal() -> None:
    """A display curve that is steep in the skin and flat in everything denser, with noise on it."""
    rig = preset("room", "left")
    view = network_view(rig.view("ap"), rig.field_of_view, 128)
    generator = np.random.default_rng(3)
    column = np.abs(np.arange(128) - 60.0)[None, :].repeat(128, axis=0)
    leg = np.maximum(0.0, 1.0 - column / 48.0) + np.maximum(0.0, 1.0 - column / 24.0)
    noise = generator.normal(0.0, 0.002, leg.shape)
    assert bright_parts(leg + noise, view, rig.field_of_view).one_brightness < 0.09
    burnt = np.tanh(12.0 * leg) + noise
    found = bright_parts(burnt, view, rig.field_of_view)
    assert found.one_brightness == pytest.approx((leg > 0.1).mean(), abs=0.05) and found.metal_cm2 == 0.0
    # Half of the view in shadow: the median is no longer in the leg.
    burnt[:, column[0] > 30] = 0.0
    found = bright_parts(burnt, view, rig.field_of_view)
    assert found.one_brightness > 1 / 3 and found.metal_cm2 == 0.0


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_dark_band_across_a_bone_is_seen_and_a_step_is_not(mirrored: bool) -> None:
    matrix = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0, 1.0])
    femur = synthetic_knee(3.0)["femur"].transformed(matrix)
    rig = preset("room", "left" if mirrored else "right")
    view = network_view(rig.view("ap"), rig.field_of_view, 256)
    rows = np.arange(256)
    pixels, _ = view.project(np.array([[0.0, 0.0, 20.0]]))
    near = rows - pixels[0, 0]
    band = np.where(np.abs(near * view.pixel_spacing[0] / 1.15) < 1.2, 0.5, 1.0)[:, None].repeat(256, axis=1)
    step = np.where(near > 0, 0.5, 1.0)[:, None].repeat(256, axis=1)
    seen = growth_plate_contrast(band, view, rig.field_of_view, {"femur": femur})
    other = growth_plate_contrast(step, view, rig.field_of_view, {"femur": femur})
    assert seen is not None and seen > 2.0
    # A display curve that stretches the greys deepens the band and the bone's edges alike; noise has notches everywhere.
    stretched = growth_plate_contrast(3.0 * band - 1.0, view, rig.field_of_view, {"femur": femur})
    assert stretched == pytest.approx(seen)
    noise = np.random.default_rng(0).normal(size=band.shape)
    only_noise = growth_plate_contrast(noise, view, rig.field_of_view, {"femur": femur})
    assert only_noise is not None and only_noise < seen / 2
    assert other is not None and other < 0.05
    assert growth_plate_contrast(band, view, rig.field_of_view, {}) is None


def test_statistics_follow_the_image_and_not_its_place() -> None:
    generator = np.random.default_rng(0)
    image = generator.normal(size=(64, 64))
    smooth = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3
    plain, soft = image_statistics(image), image_statistics(smooth)
    assert len(plain) == 16 and np.isfinite(plain).all()
    # The finest waves lose the most.
    assert soft[-1] < plain[-1] - 0.5
    np.testing.assert_allclose(image_statistics(np.zeros((64, 64)))[:8], 0.0)


def test_domain_distance_is_about_one_inside_and_grows_outside() -> None:
    generator = np.random.default_rng(1)
    mixing = generator.normal(size=(5, 60))
    inside, held = (generator.normal(size=(40, 5)) @ mixing + 0.1 * generator.normal(size=(40, 60)) for _ in range(2))
    domain = fit_domain(inside + 7.0)
    distances = [domain.distance(row + 7.0) for row in held]
    assert 0.3 < np.median(distances) < 2.0
    outside = domain.distance(held[0] + 7.0 + 3.0 * generator.normal(size=60))
    assert outside > 2.0 * max(distances)
    assert domain.distance(np.full(60, 1e12)) > outside
    with pytest.raises(ValueError, match="too few"):
        fit_domain(inside[:5])


def test_limits_leave_good_cases_alone() -> None:
    generator = np.random.default_rng(2)
    limit = fit_limit(np.exp(generator.normal(0.3, 0.2, 30)).tolist())
    more = np.exp(generator.normal(0.3, 0.2, 4000))
    assert np.mean([limit.light(value) != "green" for value in more]) < 0.03
    assert limit.typical < limit.amber < limit.red
    assert [limit.light(value) for value in (limit.typical, 1.01 * limit.amber, 1.01 * limit.red)] == [
        "green",
        "amber",
        "red",
    ]


def test_the_interval_holds_on_other_cases() -> None:
    generator = np.random.default_rng(3)

    def cases(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        terms = [generator.uniform(0, 2, (400, len(TERM_NAMES))) for _ in range(count)]
        scale = [0.3 + 0.5 * part[:, 1] + 0.8 * part[:, 3] for part in terms]
        return terms, [np.abs(generator.normal(0, level)) for level in scale]

    terms, errors = cases(12)
    errors[0][:50] = np.nan
    model = fit_error_model(terms, errors, *cases(8))
    assert (model.weights >= 0).all()
    assert model.weights[2] > 0.2 and model.weights[4] > 0.4 and model.weights[1] < 0.1
    new_terms, new_errors = cases(20)
    held = np.mean([(e <= model.interval(t)).mean() for t, e in zip(new_terms, new_errors, strict=True)])
    assert held == pytest.approx(0.95, abs=0.01)


def test_terms_of_a_network_that_knows_its_knee() -> None:
    rig = preset("room", "right", (2.0, 2.0), 215, 215)
    model = knee_model(rig)
    kept: list[Encoded] = []
    radiographs = shadow_radiographs(rig)
    result = reconstruct(
        radiographs, rig, model, 64, "cpu", check_view_order=False, encoded=lambda g, f: kept.append(Encoded(g, f))
    )
    measures = case_measures(radiographs, rig, model, result, kept[0], 80)
    assert measures.missing == () and not measures.other_side
    for name, terms in measures.terms.items():
        assert terms.shape == (len(measures.vertices[name]), len(TERM_NAMES)) and np.isfinite(terms).all()
    # A surface that is moved off the network's own is told so in mm, on average, away from the caps.
    tibia = result.surfaces["tibia"]
    chosen = {"tibia": measures.vertices["tibia"]}
    moved = {"tibia": Surface(tibia.vertices + np.array([0.0, 1.0, 0.0]), tibia.faces)}
    given = kept[0]
    level = [
        vertex_terms(model.network, given.given, given.features, rig.field_of_view, surfaces, chosen, {})["tibia"][:, 0]
        for surfaces in ({"tibia": tibia}, moved)
    ]
    assert np.median(level[0]) < 0.3 < np.median(level[1])


@pytest.mark.parametrize("count", [1, 2, 40, 700])
def test_values_spread_to_every_vertex_from_the_three_nearest(count: int) -> None:
    patella = synthetic_knee(3.0)["patella"]
    generator = np.random.default_rng(count)
    # Places off the lattice, so that no two are equally near; all at one end, so that some vertices are far from any.
    vertices = patella.vertices + generator.normal(0.0, 0.2, patella.vertices.shape)
    chosen = generator.permutation(np.argsort(vertices[:, 2])[: 2 * count])[:count]
    values = generator.random(count)
    found = at_all_vertices(Surface(vertices, patella.faces), chosen, values)
    distance, nearest = cKDTree(vertices[chosen]).query(vertices, k=[*range(1, min(3, count) + 1)])
    weight = 1.0 / (distance + 0.1)
    np.testing.assert_allclose(found, (weight * values[nearest]).sum(axis=1) / weight.sum(axis=1), rtol=1e-9)


def test_values_of_several_bones_side_by_side_are_those_of_each() -> None:
    knee = synthetic_knee(3.0)
    chosen = {name: sampled_vertices(bone, 50) for name, bone in knee.items() if name != "fibula"}
    values = {name: np.arange(len(vertices), dtype=np.float64) for name, vertices in chosen.items()}
    found = at_vertices_of_all(knee, chosen, values, 2)
    assert list(found) == list(values)
    for name, spread in found.items():
        np.testing.assert_array_equal(spread, at_all_vertices(knee[name], chosen[name], values[name]))
