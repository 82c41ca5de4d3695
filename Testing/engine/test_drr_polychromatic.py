"""The physics of an exposure: spectra, hardening, scatter, grid, detector, and what else lies in the beam."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SSRKDCore.drr.attenuation import attenuation_from_hounsfield, linear_attenuation
from SSRKDCore.drr.beam_hardening import material_fractions, polychromatic_line_integrals
from SSRKDCore.drr.clutter import blade_openness, cast_path, other_leg, wire_path
from SSRKDCore.drr.exposure import expose, plain_exposures, primary_signal
from SSRKDCore.drr.grid_lines import grid_transmission
from SSRKDCore.drr.mass_attenuation import MATERIALS, linear_attenuation_per_mm, mass_attenuation
from SSRKDCore.drr.scatter_kernels import scatter_signal
from SSRKDCore.drr.spectrum import as_detected, monochromatic, tube_spectrum
from SSRKDCore.errors import InputError

PIXEL = torch.tensor([0.5])


def no_noise(like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like)


def normal(seed: int):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


@pytest.mark.parametrize("material", ["water", "muscle", "fat", "cortical bone"])
def test_attenuation_agrees_with_the_projectors_own_table(material: str) -> None:
    for energy in (30.0, 43.0, 60.0, 75.0, 150.0):
        assert linear_attenuation_per_mm(material, energy) == pytest.approx(
            linear_attenuation(material, energy), rel=1e-9
        )


def test_attenuation_falls_with_energy_but_for_the_k_edges() -> None:
    energies = np.arange(15.0, 150.0, 0.5)
    rises = {name for name in MATERIALS if (np.diff(mass_attenuation(name, energies)) > 0).any()}
    assert rises == {"tungsten", "lead", "caesium iodide"}
    assert mass_attenuation("tungsten", 69.6) > 4 * mass_attenuation("tungsten", 69.4)


def test_energies_without_data_are_refused() -> None:
    with pytest.raises(InputError, match="15 to 150 keV"):
        mass_attenuation("water", 10.0)
    with pytest.raises(InputError, match="tube voltage"):
        tube_spectrum(20.0)


@pytest.mark.parametrize(("kilovolts", "mean_kev"), [(60.0, 35.95), (70.0, 39.40), (80.0, 42.90)])
def test_mean_energies_are_those_of_an_independent_program(kilovolts: float, mean_kev: float) -> None:
    """SpekPy 2.5 (G. Poludniowski et al., Med Phys 48, 2021), 12 degrees, 2.5 mm of aluminium: fluence-weighted means."""
    assert tube_spectrum(kilovolts, 2.5).mean_kev == pytest.approx(mean_kev, abs=0.6)


def test_k_lines_come_with_the_voltage_that_excites_them() -> None:
    def line_share(kilovolts: float) -> float:
        spectrum = tube_spectrum(kilovolts)
        near = np.abs(spectrum.energies_kev - 59) <= 0
        beside = np.abs(np.abs(spectrum.energies_kev - 59) - 4) <= 0
        return float(spectrum.weights[near].sum() / spectrum.weights[beside].mean())

    assert line_share(68.0) == pytest.approx(1.0, abs=0.15)
    assert line_share(100.0) > 1.3


def test_filters_harden_and_a_spectrum_in_few_energies_attenuates_alike() -> None:
    whole = as_detected(tube_spectrum(70.0))
    assert tube_spectrum(70.0, 2.5, 0.2).mean_kev > tube_spectrum(70.0, 2.5).mean_kev + 3
    assert whole.behind({"water": 150.0}).mean_kev > whole.mean_kev + 3
    assert whole.weights.sum() == pytest.approx(1.0)
    for paths in ({"water": 40.0}, {"water": 150.0}, {"water": 100.0, "cortical bone": 30.0}):
        full, few = (-np.log(spectrum.transmission(paths)) for spectrum in (whole, whole.condensed(8)))
        assert few == pytest.approx(full, rel=0.005)


def test_half_value_layer_halves() -> None:
    assert monochromatic(60.0).half_value_layer_mm() == pytest.approx(np.log(2) / 0.2778 / 2.699 * 10, rel=1e-6)


def test_two_materials_give_one_energys_attenuation_back() -> None:
    hounsfield = np.array([-1000.0, -600.0, -80.0, 0.0, 40.0, 500.0, 1500.0, 8000.0])
    attenuation = attenuation_from_hounsfield(hounsfield, 60.0)
    shares = material_fractions(attenuation, 60.0)
    found = polychromatic_line_integrals(shares, monochromatic(60.0))
    assert found == pytest.approx(attenuation, abs=1e-6)
    assert (shares["cortical bone"][:4] < 1e-6).all() and (shares["cortical bone"][5:] > 0.1).all()


def test_hardening_makes_thick_parts_look_thinner_than_they_are() -> None:
    spectrum = as_detected(tube_spectrum(65.0))
    thin, thick = polychromatic_line_integrals({"water": np.array([1.0, 200.0])}, spectrum)
    assert thick < 0.9 * 200 * thin
    tensors = {"water": torch.tensor([[[1.0, 200.0]]])}
    assert -torch.log(primary_signal(tensors, [spectrum]))[0, 0].numpy() == pytest.approx([thin, thick], rel=1e-4)


def block(thickness_mm: float = 100.0, size: int = 96) -> torch.Tensor:
    """Water as thick as that in the middle half of an image."""
    path = torch.zeros(1, size, size)
    path[:, size // 4 : -size // 4, size // 4 : -size // 4] = thickness_mm
    return path


def test_a_plain_exposure_changes_nothing() -> None:
    path = block()
    read = expose({"water": path}, plain_exposures(1, 60.0), PIXEL, no_noise)
    # Frequencies at the far end of single precision: an open pixel is 1 to seven digits.
    assert torch.allclose(read, path * float(linear_attenuation_per_mm("water", 60.0)), atol=2e-3)


def test_scatter_has_the_ratio_that_was_asked_for_and_no_edges() -> None:
    integrals = block() * 0.02
    ratio, spread = torch.tensor([0.08]), torch.tensor([20.0])
    veil = scatter_signal(integrals, ratio, spread, PIXEL, 0.02)
    behind = integrals > 0.3
    assert float((veil / torch.exp(-integrals))[behind].mean()) == pytest.approx(0.8, rel=0.01)
    assert float(veil.diff(dim=2).abs().max()) < 0.1 * float(veil.max())
    assert float(scatter_signal(0 * integrals, ratio, spread, PIXEL, 0.02).abs().max()) == 0.0
    twice = scatter_signal(integrals, 2 * ratio, spread, PIXEL, 0.02)
    assert torch.allclose(twice, 2 * veil)


def test_a_grid_keeps_scatter_away_and_shows_its_lines() -> None:
    path = {"water": block()}
    open_beam = expose(path, plain_exposures(1, 60.0, scatter_per_cm=0.1), PIXEL, no_noise)
    grid = plain_exposures(1, 60.0, scatter_per_cm=0.1, primary_transmission=0.7, scatter_transmission=0.1)
    with_grid = expose(path, grid, PIXEL, no_noise)
    middle = (0, 48, 48)
    true = 100 * float(linear_attenuation_per_mm("water", 60.0))
    assert open_beam[middle] < with_grid[middle] < true
    flat = torch.ones(1, 64, 64)
    one, zero = torch.ones(1), torch.zeros(1)
    lines = grid_transmission(flat, torch.tensor([0.1]), 4 * one, 0.05 * one, zero, zero)
    spectrum = torch.fft.rfft(lines[0, 0] - 1).abs()
    assert int(spectrum.argmax()) == round(64 * 0.1 * 4) and float(lines.std(dim=1).max()) == 0.0
    # 4 lines a mm on pixels of 0.2 mm (2.5 cycles/mm at most) fold down to 1 line a mm.
    folded = torch.fft.rfft(
        grid_transmission(flat, torch.tensor([0.2]), 4 * one, 0.05 * one, zero, zero)[0, 0] - 1
    ).abs()
    assert int(folded.argmax()) == round(64 * 0.2 * 1)


def test_the_detector_halves_contrast_where_its_transfer_says_so() -> None:
    frequency = 0.25
    row = torch.arange(128) * 0.5
    path = (50 + torch.cos(2 * torch.pi * frequency * row)).expand(1, 128, 128).clone()
    sharp = expose({"water": path}, plain_exposures(1, 60.0), PIXEL, no_noise)
    soft = expose({"water": path}, plain_exposures(1, 60.0, half_per_mm=frequency), PIXEL, no_noise)
    inner = slice(32, 96)
    assert float(soft[0, 64, inner].std() / sharp[0, 64, inner].std()) == pytest.approx(0.5, abs=0.02)


def test_noise_has_the_variance_of_its_photons() -> None:
    path = {"water": torch.full((1, 200, 200), 50.0)}
    transmission = float(np.exp(-50 * linear_attenuation_per_mm("water", 60.0)))
    read = expose(path, plain_exposures(1, 60.0, photons=1e4), PIXEL, normal(1))
    assert float(read.std()) == pytest.approx((1e4 * transmission) ** -0.5, rel=0.03)
    electronic = expose(path, plain_exposures(1, 60.0, photons=1e4, electronic=100.0), PIXEL, normal(1))
    expected = (1e4 * transmission + 100.0**2) ** 0.5 / (1e4 * transmission)
    assert float(electronic.std()) == pytest.approx(expected, rel=0.03)
    assert abs(np.corrcoef(read[0, :, :-1].flatten(), read[0, :, 1:].flatten())[0, 1]) < 0.05
    # Light spreads in a soft scintillator: neighbours' noise goes together.
    soft = expose(path, plain_exposures(1, 60.0, photons=1e4, half_per_mm=0.5), PIXEL, normal(1))[0]
    assert np.corrcoef(soft[:, :-1].flatten(), soft[:, 1:].flatten())[0, 1] > 0.4


def test_a_wire_has_the_volume_of_its_metal_however_thin() -> None:
    image = torch.zeros(100, 100)
    for diameter in (0.3, 1.0, 4.0):
        path = wire_path(image, 0.5, (3.2, 0.0), (0.0, 100.0, 0.0), diameter)
        per_row_length = float(path.sum(dim=0).mean()) * 0.5
        assert per_row_length == pytest.approx(np.pi * diameter**2 / 4, rel=1e-3)


def test_a_cast_is_a_shell_about_the_leg() -> None:
    column = (torch.arange(200) - 99.5) * 1.0
    leg = 0.02 * 2 * torch.sqrt((40.0**2 - column**2).clamp(min=0)).expand(200, 200)
    path = cast_path(leg, 1.0, 5.0, 3.0, 0.25, 0.75)
    assert float(path[:45].max()) == 0 and float(path[160:].max()) == 0
    middle = path[100]
    assert float(middle[99]) == pytest.approx(10.0, abs=0.1)
    assert float(middle.max()) == pytest.approx(2 * (48**2 - 43**2) ** 0.5, rel=0.05)
    outside = torch.nonzero(middle > 0).flatten()
    assert 94 <= int(outside[-1] - outside[0]) <= 98


def test_the_other_leg_is_a_mirror_image_at_the_side() -> None:
    image = torch.zeros(10, 20)
    image[:, 4] = 1.0
    assert torch.nonzero(other_leg(image, 0.2)[0]).flatten().tolist() == [19]
    assert torch.nonzero(other_leg(image, -0.5)[0]).flatten().tolist() == [5]


def test_blades_cover_what_they_say() -> None:
    images = torch.zeros(1, 200, 100)
    openness = blade_openness(images, torch.tensor([[0.1, 0.0, 0.25, 0.0]]), torch.zeros(1), torch.tensor([0.001]))[0]
    assert float(openness[:48].max()) == 0 and float(openness[:, :9].max()) == 0
    assert float(openness[52:, 12:].min()) == 1
