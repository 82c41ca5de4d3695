"""The augmentation "physics": its settings, its randomness, and that the anatomy stays where it is."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from test_image_domain_preparation import leg

from SSRKDCore.errors import InputError
from SSRKDCore.training.changed_images import changed_images
from SSRKDCore.training.domain_randomisation import DomainRandomisation, material_paths, randomise_domain
from SSRKDCore.training.presets import ct_preset, segmenter_preset, xray_preset
from SSRKDCore.training.sample_store import CaseSample

PIXEL_MM = 0.8


def images() -> torch.Tensor:
    return torch.from_numpy(leg(0.0)[100:228, 120:248].copy())[None].repeat(2, 1, 1)


def quiet() -> DomainRandomisation:
    """No effect happens; the exposure itself is nearly plain."""
    shares = {item.name: 0.0 for item in fields(DomainRandomisation) if item.name.endswith("_share")}
    display = replace(DomainRandomisation().display, curve_share=0.0, contrast_share=0.0)
    return replace(
        DomainRandomisation(), **shares, scatter_per_cm=(0.0, 0.0),
        half_per_mm=(50.0, 50.0), photons=(1e9, 1e9), electronic=(0.0, 0.0), display=display
    )  # fmt: skip


def test_settings_name_it_and_old_settings_stay_what_they_were() -> None:
    assert xray_preset("compact").to_dict()["augmentation"] is True
    assert xray_preset("paper").to_dict()["augmentation"] is False
    assert xray_preset("compact").changed({"augmentation": "physics"}).augmentation == "physics"
    assert segmenter_preset("compact").changed({"augmentation": "physics"}).augmentation == "physics"
    assert xray_preset("compact").changed({"augmentation": "mixed"}).augmentation == "mixed"
    assert segmenter_preset("compact").changed({"augmentation": "mixed"}).augmentation == "mixed"
    for word in ("physics", "mixed"):
        with pytest.raises(InputError, match="augmentation"):
            ct_preset("compact").changed({"augmentation": word})
    with pytest.raises(InputError, match="augmentation"):
        xray_preset("compact").changed({"augmentation": "chemistry"})
    with pytest.raises(InputError, match="true, false or a word"):
        xray_preset("compact").changed({"augmentation": 1})


def sample() -> CaseSample:
    given = images()
    masks = torch.zeros_like(given, dtype=torch.uint8)
    masks[:, :, 15:85] = 1
    none = np.zeros((0, 3))
    return CaseSample(
        "leg", 0, given.numpy().astype(np.float16), masks.numpy(), np.zeros((2, 3, 4)), np.array([0.0, 0.0, 0.0, 128 * PIXEL_MM]),
        none, np.zeros(0, np.uint8), 0, np.array([0.0, 100.0])
    )  # fmt: skip


def test_mixed_does_either_by_chance() -> None:
    """Which of both, the generator decides; what comes then is what the other settings give from there on."""
    found = []
    for seed in range(40):
        image, coverage = changed_images(sample(), slice(None), "mixed", torch.Generator().manual_seed(seed))
        expected = []
        for one in ("physics", True):
            generator = torch.Generator().manual_seed(seed)
            torch.rand((), generator=generator)
            expected.append(changed_images(sample(), slice(None), one, generator))
        same = [torch.equal(image, other) and torch.equal(coverage, covered) for other, covered in expected]
        assert sum(same) == 1
        found.append(same[0])
    assert 10 < sum(found) < 30


def test_images_are_changed_only_where_the_settings_say_so() -> None:
    plain, coverage = changed_images(sample(), slice(1, 2), False, torch.Generator())
    assert torch.equal(plain, images()[1:].half().float()) and bool((coverage == 1).all())


@pytest.mark.parametrize("masked", [True, False])
def test_materials_give_the_image_back(masked: bool) -> None:
    from SSRKDCore.drr.exposure import primary_signal
    from SSRKDCore.drr.spectrum import monochromatic

    given = images()
    masks = torch.zeros_like(given)
    masks[:, :, 15:85] = 1
    paths = material_paths(given, masks if masked else None)
    assert torch.allclose(-torch.log(primary_signal(paths, [monochromatic(60.0)] * 2)), given, atol=1e-4)
    assert float(paths["water"].min()) >= 0 and float(paths["cortical bone"].max()) > (5 if masked else 2)


def test_it_is_reproducible_and_each_image_differs() -> None:
    first, second = (randomise_domain(images(), torch.Generator().manual_seed(3), PIXEL_MM) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0][0], first[0][1])
    other, _ = randomise_domain(images(), torch.Generator().manual_seed(4), PIXEL_MM)
    assert not torch.equal(first[0], other)


def test_a_quiet_room_changes_the_spectrum_alone() -> None:
    given = images()
    found, coverage = randomise_domain(given, torch.Generator().manual_seed(1), PIXEL_MM, settings=quiet())
    assert float(coverage.min()) == 1.0
    for index in range(2):
        pair = torch.stack([given[index].flatten(), found[index].flatten()])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.99


def test_whatever_happens_values_are_finite_and_the_leg_stays_in_place() -> None:
    generator = torch.Generator().manual_seed(7)
    given = images()
    outline = given[0].median(dim=0).values.diff()
    recognised = 0
    for _ in range(20):
        found, coverage = randomise_domain(given, generator, PIXEL_MM)
        assert torch.isfinite(found).all() and found.dtype == torch.float32
        assert set(coverage.unique().tolist()) <= {0.0, 1.0}
        for image in found:
            profile = image.median(dim=0).values.diff()
            alike = [float(torch.corrcoef(torch.stack([outline, profile.roll(step)]))[0, 1]) for step in range(-4, 5)]
            if max(alike) > 0.5:
                recognised += 1
                assert abs(int(np.argmax(alike)) - 4) <= 1
    assert recognised > 15


def test_every_effect_can_be_had_alone() -> None:
    given, plain = images(), quiet()
    reference, _ = randomise_domain(given, torch.Generator().manual_seed(5), PIXEL_MM, settings=plain)
    for name in ("letter_share", "wire_share", "cast_share", "table_share", "other_leg_share", "glare_share"):
        changed = replace(plain, **{name: 1.0})
        found, _ = randomise_domain(given, torch.Generator().manual_seed(5), PIXEL_MM, settings=changed)
        assert float((found - reference).abs().max()) > 0.01, name
