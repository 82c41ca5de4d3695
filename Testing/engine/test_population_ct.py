"""Synthetic CTs: labels are the bones, Hounsfield units are the tissues', left is right mirrored, and bad input is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from simple_leg import SHAPES, inside, simple_leg

from SSRKDCore.anatomy import BONES
from SSRKDCore.errors import InputError
from SSRKDCore.population.bone_distance import coarse_box
from SSRKDCore.population.leg_landmarks import find_landmarks
from SSRKDCore.population.osteophytes import with_osteophytes
from SSRKDCore.population.synthetic_ct import SyntheticCt, synthetic_ct
from SSRKDCore.population.tissue import TissueParameters, random_tissue
from SSRKDCore.surface import Surface

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
PLAIN = TissueParameters(noise_hu=0.0, texture=0.0)


def points_of(ct: SyntheticCt) -> np.ndarray:
    x, y, z = ct.grid.axes
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    return np.stack([xx, yy, zz], axis=-1)


def turned(bones: dict[str, Surface], degrees: float) -> dict[str, Surface]:
    """The leg turned about x, as the bones of a bent knee are."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
    return {name: surface.transformed(turn) for name, surface in bones.items()}


@pytest.fixture(scope="module")
def leg() -> dict[str, Surface]:
    return simple_leg()


@pytest.fixture(scope="module")
def plain(leg) -> SyntheticCt:
    return synthetic_ct(leg, "right", PLAIN, np.random.default_rng(1), 1.5)


def test_the_leg_of_the_tests_is_what_it_says(leg):
    for surface in leg.values():
        assert surface.is_closed() and surface.volume > 0


def test_labels_are_the_bones(plain):
    points = points_of(plain)
    for bone in BONES:
        truth = inside(bone.name, points)
        differ = (plain.labels == bone.label) != truth
        # A ring of 64 chords lies up to r (1 - cos(pi / 64)) = 0.05 mm within its ellipse: a voxel centre that near may differ.
        assert differ.sum() <= 0.01 * truth.sum(), bone.name
    assert plain.labels.shape == plain.hounsfield.shape == plain.grid.shape
    assert plain.labels.dtype == np.uint8 and plain.hounsfield.dtype == np.int16


def test_no_shaft_ends_in_the_box(plain, leg):
    bottom, top = plain.labels[0], plain.labels[-1]
    assert (top == 2).any() and (bottom == 4).any() and (bottom == 3).any()
    # A bent leg's flat ends are oblique: neither reaches into the box.
    for degrees in (-18.0, 18.0):
        bent = synthetic_ct(turned(leg, degrees), "right", PLAIN, np.random.default_rng(1), 2.5, (-400.0, 400.0))
        turn = np.radians(degrees)
        for label, name, end in ((2, "femur", -1), (4, "tibia", 0), (3, "fibula", 0)):
            row = bent.labels[end]
            # The section of a round shaft by the box's last slice is a whole ellipse: its area is the axes' product over cos.
            across = SHAPES[name][2][end] if name != "fibula" else 7.0
            area = (row == label).sum() * 2.5**2
            assert area == pytest.approx(np.pi * across**2 / np.cos(turn), rel=0.25), (name, degrees)


def test_the_asked_heights_are_shown(leg):
    ct = synthetic_ct(leg, "right", PLAIN, np.random.default_rng(1), 2.0, (-50.0, 40.0))
    low, high = ct.grid.bounds[:, 2]
    assert low == pytest.approx(-50.0) and 38.0 <= high <= 40.0 + 1e-9


def test_tissues_have_their_hounsfield_units(plain):
    hounsfield, labels = plain.hounsfield, plain.labels
    assert (hounsfield[:, 0, 0] == -1000).all() and (hounsfield[:, -1, -1] == -1000).all()
    soft = hounsfield[(labels == 0) & (hounsfield > -200)]
    shares = np.histogram(soft, [-200, -60, 20, 150])[0] / len(soft)
    # Both fat and muscle are there in amounts.
    assert shares[0] > 0.15 and shares[2] > 0.25
    # No bone reaches the air.
    assert hounsfield[labels > 0].min() > -200


def test_the_cortex_is_thin_at_the_joint_and_thick_in_the_shaft(plain):
    points = points_of(plain)
    z = plain.grid.axes[2]
    dense = plain.hounsfield > 900
    share = []
    for height in (15.0, 130.0):
        row = int(np.argmin(np.abs(z - height)))
        bone = inside("femur", points[row])
        share.append(dense[row][bone].mean())
    assert share[0] < 0.1 and share[1] > 0.3
    # In the middle of the shaft lies marrow, not bone.
    row = int(np.argmin(np.abs(z - 130.0)))
    middle = np.hypot(points[row, ..., 0], points[row, ..., 1]) < 3.0
    assert plain.hounsfield[row][middle].mean() < 150.0


def test_the_patellar_ligament_lies_under_skin_and_fat(plain, leg):
    landmarks = find_landmarks(leg, "right")
    middle = (landmarks.patella_low + landmarks.tuberosity) / 2
    k, j, i = np.round(plain.grid.indices(middle)).astype(int)
    front = plain.hounsfield[k, : j + 1, i]
    body = np.flatnonzero(front > -300)
    assert front[j - 1 : j + 1].max() > 60
    assert front[body[0] : j].min() < -50


def test_osteoporosis_darkens_the_bone(leg):
    means = []
    for density in (0.3, 1.0):
        tissue = replace(PLAIN, trabecular_hu=400.0 * density, cortical_thickness=density)
        ct = synthetic_ct(leg, "right", tissue, np.random.default_rng(2), 2.5, (-60.0, 60.0))
        means.append(ct.hounsfield[ct.labels == 2].mean())
    assert means[1] - means[0] > 100.0


def test_a_left_leg_is_a_right_one_mirrored(leg):
    mirrored = {name: surface.transformed(MIRROR) for name, surface in leg.items()}
    tissue = replace(PLAIN, metal="partial_knee", metal_hu=30000.0)
    for side, bones, lateral in (("right", leg, -1.0), ("left", mirrored, 1.0)):
        ct = synthetic_ct(bones, side, tissue, np.random.default_rng(3), 2.0, (-60.0, 60.0))
        points = points_of(ct)
        assert np.sign(points[ct.labels == 3][:, 0].mean()) == lateral
        # A medial replacement lies opposite to the fibula; a lateral muscle is where it should be.
        metal = points[ct.hounsfield > 8000]
        assert len(metal) > 50 and np.sign(np.median(metal[:, 0])) == -lateral
        fabella = synthetic_ct(bones, side, replace(PLAIN, fabella=True), np.random.default_rng(3), 2.0, (-60.0, 60.0))
        without = synthetic_ct(bones, side, PLAIN, np.random.default_rng(3), 2.0, (-60.0, 60.0))
        new = points[(fabella.hounsfield.astype(int) - without.hounsfield) > 100]
        assert len(new) > 3 and np.sign(new[:, 0].mean()) == lateral
        assert (fabella.labels == without.labels).all()


def test_a_side_that_the_fibula_denies_is_refused(leg):
    with pytest.raises(InputError, match="fibula"):
        synthetic_ct(leg, "left", PLAIN, np.random.default_rng(0), 2.5)


def test_the_same_state_gives_the_same_ct(leg):
    tissue = random_tissue(np.random.default_rng(5), metal_share=1.0)
    first, again = (synthetic_ct(leg, "right", tissue, np.random.default_rng(5), 3.0) for _ in range(2))
    other = synthetic_ct(leg, "right", tissue, np.random.default_rng(6), 3.0)
    assert (first.hounsfield == again.hounsfield).all() and (first.labels == again.labels).all()
    assert first.grid == again.grid and first.provenance == again.provenance
    assert first.grid != other.grid or (first.hounsfield != other.hounsfield).any()
    assert json.loads(json.dumps(first.provenance))["tissue"]["metal"] == tissue.metal


@pytest.mark.parametrize("kind", ["staples", "plate_and_screws", "partial_knee"])
def test_metal_is_bright_and_changes_no_label(leg, kind):
    plain = synthetic_ct(leg, "right", PLAIN, np.random.default_rng(4), 1.5)
    ct = synthetic_ct(leg, "right", replace(PLAIN, metal=kind, metal_hu=40000.0), np.random.default_rng(4), 1.5)
    assert (ct.labels == plain.labels).all()
    assert ct.provenance["metal"]["kind"] == kind
    # Thin parts are blurred; a tray or plate is thick enough for what int16 holds.
    assert ct.hounsfield.max() > (10000 if kind == "staples" else 32000)
    brighter = (ct.hounsfield.astype(int) - plain.hounsfield) > 3000
    assert 5 < brighter.sum() < 0.02 * brighter.size
    z = ct.grid.axes[2][np.nonzero(brighter)[0]]
    assert np.abs(z).max() < 140.0


def test_osteophytes_grow_outwards_at_the_margins_and_are_labelled(leg):
    tissue = replace(PLAIN, osteophytes=14, osteophyte_height=5.0)
    landmarks = find_landmarks(leg, "right")
    grown = with_osteophytes(leg, landmarks, tissue, np.random.default_rng(7))
    gained = {name: grown[name].volume - leg[name].volume for name in leg}
    assert sum(gained.values()) > 200.0 and min(gained.values()) > -1.0 and gained["fibula"] == 0.0
    for name, surface in grown.items():
        assert (surface.faces == leg[name].faces).all() and surface.is_closed()
        moved = np.linalg.norm(surface.vertices - leg[name].vertices, axis=1)
        assert np.abs(leg[name].vertices[moved > 0.5, 2]).max(initial=0.0) < 70.0
    ct = synthetic_ct(leg, "right", tissue, np.random.default_rng(7), 1.5)
    without = synthetic_ct(leg, "right", PLAIN, np.random.default_rng(7), 1.5)
    added = ((ct.labels > 0).sum() - (without.labels > 0).sum()) * 1.5**3
    by_surface = sum(ct.bones[name].volume - leg[name].volume for name in leg)
    # Counting voxels of 3.4 mm^3 over some tens of square centimetres of bumps.
    assert added == pytest.approx(by_surface, rel=0.25)


def test_coarse_distances_are_right_to_half_a_coarse_voxel():
    from trimesh.creation import icosphere

    from SSRKDCore.grid import Grid

    ball = icosphere(4, 20.0)
    grid = Grid.cube((0.3, -0.2, 0.1), 70.2, 26)
    box = coarse_box(Surface(ball.vertices, ball.faces), grid, (-60.0, 60.0))
    x, y, z = grid.axes
    radius = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)[box.slices]
    error = np.abs(box.values - np.clip(radius - 20.0, -15.0, 14.0))
    # Exact within a voxel and a half, 4.05 mm; an icosphere of 5120 faces lies up to 0.03 mm inside its sphere.
    assert error[np.abs(radius - 20.0) < 4.0].max() < 0.05
    # Beyond that, of the order of half the 2.7 mm between samples.
    assert error.max() < 1.4 and error[radius > 24.05].mean() < 0.4


def test_what_cannot_be_a_knee_is_refused(leg):
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match="no patella"):
        synthetic_ct({name: leg[name] for name in ("femur", "tibia", "fibula")}, "right", PLAIN, generator)
    with pytest.raises(InputError, match="side"):
        synthetic_ct(leg, "middle", PLAIN, generator)
    with pytest.raises(InputError, match="Voxels"):
        synthetic_ct(leg, "right", PLAIN, generator, 0.05)
    with pytest.raises(InputError, match="height"):
        synthetic_ct(leg, "right", PLAIN, generator, 2.0, (10.0, 20.0))


def test_random_tissues():
    tissues = [random_tissue(np.random.default_rng(seed), 0.3) for seed in range(300)]
    assert tissues[3] == random_tissue(np.random.default_rng(3), 0.3)
    assert {tissue.metal for tissue in tissues} == {"none", "staples", "plate_and_screws", "partial_knee"}
    assert all(json.dumps(tissue.to_dict()) for tissue in tissues)
    age = np.array([tissue.age_years for tissue in tissues])
    for name, sign in (("trabecular_hu", -1), ("cortical_thickness", -1), ("osteophytes", 1), ("infiltration", 1)):
        values = np.array([getattr(tissue, name) for tissue in tissues], dtype=float)
        assert sign * np.corrcoef(age, values)[0, 1] > 0.3, name
    assert all(random_tissue(np.random.default_rng(seed), 0.0).metal == "none" for seed in range(50))
    with pytest.raises(InputError, match="share"):
        random_tissue(np.random.default_rng(0), 1.5)
    with pytest.raises(InputError, match="metal"):
        TissueParameters(metal="gold")
    with pytest.raises(InputError, match="resolution"):
        TissueParameters(resolution=0.0)
