"""Attenuation, noise, and the leg's density: known values, statistics, and independent geometry."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.drr.attenuation import attenuation_from_hounsfield, check_hounsfield_like, linear_attenuation
from SSRKDCore.drr.bone_phantom import LegTissue, leg_attenuation
from SSRKDCore.drr.noise import NOISE_PRESETS, NoiseModel, noise_preset
from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface


def ellipsoid(center: tuple[float, float, float], half_axes: tuple[float, float, float], count: int = 48) -> Surface:
    """A closed triangle mesh of an ellipsoid with outward winding."""
    polar = np.linspace(0, np.pi, count)[1:-1]
    around = np.linspace(0, 2 * np.pi, 2 * count, endpoint=False)
    ring = np.stack(
        [
            np.outer(np.sin(polar), np.cos(around)),
            np.outer(np.sin(polar), np.sin(around)),
            np.outer(np.cos(polar), np.ones_like(around)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    unit = np.concatenate([ring, [[0, 0, 1.0], [0, 0, -1.0]]])
    width, top, bottom = len(around), len(ring), len(ring) + 1
    faces = []
    for i in range(len(polar) - 1):
        for j in range(width):
            a, b = i * width + j, i * width + (j + 1) % width
            faces += [(a, a + width, b), (b, a + width, b + width)]
    last = (len(polar) - 1) * width
    for j in range(width):
        faces += [(top, j, (j + 1) % width), (bottom, last + (j + 1) % width, last + j)]
    return Surface(unit * np.array(half_axes) + np.array(center), np.array(faces))


def test_nist_values() -> None:
    """Mass attenuation x density of NISTIR 5632 at tabulated energies, and between them."""
    assert linear_attenuation("water", 60.0) == pytest.approx(0.02059, rel=1e-6)
    assert linear_attenuation("cortical bone", 60.0) == pytest.approx(0.3148 * 0.192, rel=1e-6)
    assert linear_attenuation("fat", 80.0) == pytest.approx(0.1800 * 0.095, rel=1e-6)
    # NIST XCOM gives water 0.1929 cm2/g at 70 keV.
    assert linear_attenuation("water", 70.0) == pytest.approx(0.01929, rel=0.005)
    with pytest.raises(InputError, match="20 keV"):
        linear_attenuation("water", 20.0)


def test_hounsfield_scale() -> None:
    values = attenuation_from_hounsfield(np.array([-3024, -1000, -500, 0, 1000]), energy_kev=60.0)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:4], [0, 0, 0.5 * 0.02059, 0.02059], rtol=1e-5, atol=1e-9)
    # Bone as the CT sees it is bone as the radiograph sees it.
    water, bone = linear_attenuation("water", 75.0), linear_attenuation("cortical bone", 75.0)
    cortical_hu = 1000 * (bone - water) / water
    assert attenuation_from_hounsfield(np.array([cortical_hu]))[0] == pytest.approx(
        linear_attenuation("cortical bone", 60.0), rel=1e-5
    )
    # At the CT's own energy the whole scale is the definition of the Hounsfield unit.
    np.testing.assert_allclose(attenuation_from_hounsfield(np.array([800.0]), 75.0, 75.0), [1.8 * water], rtol=1e-5)
    with pytest.raises(InputError, match="NaN"):
        attenuation_from_hounsfield(np.array([0.0, np.nan]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1], "without air"),
        ([7, 7], "constant"),
        ([-1000, 0], "without air or without bone"),
        ([-1000, 1e6], "no Hounsfield"),
        ([0, np.nan], "NaN"),
    ],
)
def test_volumes_that_are_no_ct(values: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_hounsfield_like(np.array(values), "the volume")


def test_padding_below_air_is_mentioned() -> None:
    assert check_hounsfield_like(np.array([-1000.0, 1500.0]), "the volume") == []
    assert "-3024" in check_hounsfield_like(np.array([-3024.0, 1500.0]), "the volume")[0]


def test_counts_have_the_mean_and_variance_of_physics() -> None:
    """Mean I0 exp(-p); variance of photons equals the mean; read-out noise adds its own."""
    model = NoiseModel(photons=2000.0, electronic_sigma=30.0)
    for integral in (0.0, 1.0, 3.0):
        counts = model.counts(np.full(200_000, integral), np.random.default_rng(11))
        expected = 2000.0 * np.exp(-integral)
        variance = expected + 30.0**2
        # Four standard errors of 200,000 draws.
        assert counts.mean() == pytest.approx(expected, abs=4 * np.sqrt(variance / counts.size))
        assert counts.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / counts.size) * 1.2)


def test_noise_of_line_integrals() -> None:
    model = NoiseModel(photons=1e5, electronic_sigma=0.0)
    image = np.full((300, 300), 2.0, np.float32)
    noisy = model.apply(image, np.random.default_rng(5))
    assert noisy.dtype == np.float32
    # For many photons, the deviation of -log(N/I0) is 1/sqrt(N).
    assert noisy.std() == pytest.approx(np.exp(1.0) / np.sqrt(1e5), rel=0.02)
    assert noisy.mean() == pytest.approx(2.0, abs=2e-4)
    np.testing.assert_array_equal(noisy, model.apply(image, np.random.default_rng(5)))
    assert not np.array_equal(noisy, model.apply(image, np.random.default_rng(6)))


def test_black_pixels_stay_finite() -> None:
    model = NoiseModel(photons=1000.0, electronic_sigma=10.0)
    noisy = model.apply(np.full((50, 50), 40.0), np.random.default_rng(0))
    assert np.isfinite(noisy).all()
    assert noisy.max() == pytest.approx(np.log(1000.0)), "a pixel that counted nothing reads as one photon"
    with pytest.raises(InputError, match="NaN"):
        model.apply(np.array([[np.nan]]), np.random.default_rng(0))


def test_published_noise_is_relative_to_the_largest_value() -> None:
    """The released code divides by the maximum first: the spread at the darkest pixel is max x exp(1/2)/sqrt(1e5),
    whatever max is."""
    model = noise_preset("published")
    assert (model.photons, model.electronic_sigma) == (1e5, 10.0)
    image = np.full((300, 300), 12.0)
    spread = model.apply(image, np.random.default_rng(4)).std()
    counts = 1e5 * np.exp(-1.0)
    assert spread == pytest.approx(12.0 * np.sqrt(counts + 100.0) / counts, rel=0.02)
    assert model.apply(np.zeros((4, 4)), np.random.default_rng(4)).shape == (4, 4)


@pytest.mark.parametrize(
    "values", [{"photons": 0}, {"photons": np.nan}, {"electronic_sigma": -1}, {"photons": 5, "electronic_sigma": 6}]
)
def test_impossible_noise(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        NoiseModel(**values)
    with pytest.raises(InputError, match=", ".join(NOISE_PRESETS)):
        noise_preset("loud")


def test_signed_distance_of_an_oblique_box_equals_an_independent_one() -> None:
    igl = pytest.importorskip("igl", reason="libigl is not installed: no independent distance to compare with")
    angle = np.radians(25.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(0.6), -np.sin(0.6)], [0, np.sin(0.6), np.cos(0.6)]]
    )
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * [14.0, 9.0, 20.0] - [7, 4, 11]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    box = Surface(corners @ turn.T, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))
    assert box.is_closed() and box.volume == pytest.approx(14 * 9 * 20)
    grid = Grid((-16.0, -15.0, -17.0), (0.5, 0.6, 0.7), (52, 55, 66))
    ours = signed_distance(box, grid, limit=4.0)
    points = grid.points(*(index.ravel() for index in np.indices(grid.shape)))
    theirs = igl.signed_distance(points, box.vertices, box.faces)[0].reshape(grid.shape)
    np.testing.assert_array_equal(ours < 0, theirs < 0)
    near = np.abs(theirs) < 1.0
    np.testing.assert_allclose(ours[near], theirs[near], atol=1e-4)
    deep = (theirs < -1.0) & (theirs > -3.5)
    # First order of the spacing, away from the surface.
    assert np.abs(ours[deep] - theirs[deep]).max() < 0.7
    assert (ours[theirs > 1.1] == np.float32(4.0)).all()


def test_mesh_on_grid_lines_is_filled_without_leaks() -> None:
    """Vertices, edges and faces exactly on rays: each crossing counts once."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * [4.0, 5.0, 6.0]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    box = Surface(corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))
    grid = Grid((-2.0, -2.0, -2.0), (1.0, 1.0, 1.0), (11, 10, 9))
    inside = signed_distance(box, grid, 3.0) < 0
    assert inside[3:8, 3:7, 3:6].all(), "everything strictly inside"
    outside = inside.copy()
    outside[2:9, 2:8, 2:7] = False
    assert not outside.any(), "nothing beyond the faces"


def femur_and_fibula() -> dict[str, Surface]:
    return {"femur": ellipsoid((0, 0, 40), (18, 16, 55)), "fibula": ellipsoid((-20, 8, -30), (6, 6, 35))}


def test_leg_has_shell_core_and_soft_tissue() -> None:
    bones = femur_and_fibula()
    grid = Grid((-59.5, -59.5, -69.5), (1.0, 1.0, 1.0), (160, 130, 120))
    tissue = LegTissue()
    leg = leg_attenuation(bones, grid, tissue)
    assert leg.dtype == np.float32 and leg.shape == grid.shape
    assert leg.min() == 0.0, "air outside"
    cortical, muscle, fat = (linear_attenuation(name) for name in ("cortical bone", "muscle", "fat"))
    assert leg.max() == pytest.approx(cortical, rel=1e-4)

    def at(x: float, y: float, z: float) -> float:
        i, j, k = np.rint(grid.indices(np.array([[x, y, z]]))[0]).astype(int)
        return float(leg[i, j, k])

    core = 0.2 * cortical + 0.8 * fat
    assert at(0.5, 0.5, 0.5) == pytest.approx(core, rel=1e-3), "trabecular bone near the joint end"
    assert at(0.5, 0.5, 80.5) < core, "marrow in the shaft"
    assert at(25.5, 0.5, 40.5) == pytest.approx(muscle, rel=1e-3), "muscle beside the bone"
    assert at(-20.5, 8.5, -30.5) != pytest.approx(at(20.5, 8.5, -30.5), rel=0.01), "the fibula is on the right only"
    # The amount of bone: shell and core volumes of the ellipsoid (uniform thickness, no shaft), against the soft
    # tissue alone.
    round_bone = {"patella": ellipsoid((0, 0, 0), (20, 20, 20), 64)}
    fine = Grid.cube((0, 0, 0), 48.0, 80)
    plain = leg_attenuation(round_bone, fine, LegTissue(epiphysis_cortex=2.0))
    where = (
        np.linalg.norm(fine.points(*(index.ravel() for index in np.indices(fine.shape))), axis=1).reshape(fine.shape)
        < 21.0
    )
    volume = 4 / 3 * np.pi
    expected = volume * ((20**3 - 18**3) * cortical + 18**3 * core)
    rest = (where.sum() * 0.6**3 - volume * 20**3) * muscle
    assert plain[where].sum() * 0.6**3 - rest == pytest.approx(expected, rel=0.01)


def test_thicker_cortex_and_lower_energy_attenuate_more() -> None:
    bones = femur_and_fibula()
    grid = Grid((-59.0, -59.0, -69.0), (2.0, 2.0, 2.0), (80, 65, 60))
    usual = leg_attenuation(bones, grid).sum()
    assert leg_attenuation(bones, grid, LegTissue(epiphysis_cortex=3.0)).sum() > usual
    assert leg_attenuation(bones, grid, LegTissue(energy_kev=50.0)).sum() > usual


def test_leg_that_cannot_be() -> None:
    grid = Grid.cube((0, 0, 0), 20.0, 5)
    with pytest.raises(InputError, match="no bone surface"):
        leg_attenuation({"femur": Surface.empty()}, grid)
    with pytest.raises(InputError, match="'rib'"):
        leg_attenuation({"rib": ellipsoid((0, 0, 0), (5, 5, 5))}, grid)
    with pytest.raises(Cancelled):
        leg_attenuation(femur_and_fibula(), grid, cancelled=lambda: True)


def test_triangles_without_area_change_no_distance() -> None:
    # Real surfaces hold some: three corners on a line, or two at one place.
    box = trimesh.creation.box(extents=(10.0, 8.0, 6.0))
    vertices, faces = np.asarray(box.vertices), np.asarray(box.faces)
    middle = (vertices[faces[0, 0]] + vertices[faces[0, 1]]) / 2
    more = np.concatenate([vertices, [middle, vertices[0]]])
    flat = np.array([[faces[0, 0], faces[0, 1], len(vertices)], [0, len(vertices) + 1, 3]])
    grid = Grid((-8.0, -7.0, -6.0), (0.5, 0.5, 0.5), (24, 28, 32))
    plain = signed_distance(Surface(vertices, faces), grid, 2.0)
    assert np.array_equal(signed_distance(Surface(more, np.concatenate([faces, flat])), grid, 2.0), plain)
