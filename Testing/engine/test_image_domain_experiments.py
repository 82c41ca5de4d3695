"""Degradations, the second site, and style matching through the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiment_cases import small_rig, write_ball_case
from tiny_training import write_cases, write_store

from SSRKDCore.cli import main
from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.degradations import DEGRADATIONS, plan
from SSRKDCore.evaluation.experiments.glyphs import glyph
from SSRKDCore.evaluation.experiments.registry import Request, load_experiment
from SSRKDCore.evaluation.experiments.second_site import SITE_B, SITES, Site, site_image
from SSRKDCore.evaluation.experiments.two_sites import plan as two_sites_plan
from SSRKDCore.evaluation.methods import Method, load_method
from SSRKDCore.geometry.presets import preset
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json
from SSRKDCore.radiographs.style_matching import fitted_style

VIEW = preset("room", rows=300, columns=300, pixel_spacing=(1.2, 1.2)).views[0]


def rod() -> tuple[np.ndarray, Grid]:
    """Bone in a cylinder of water about the z axis, attenuation at 60 keV."""
    grid = Grid.cube((0.0, 0.0, 0.0), 160.0, 40)
    _, y, x = np.meshgrid(*(grid.axes[axis] for axis in (2, 1, 0)), indexing="ij")
    radius = np.hypot(x, y)
    return np.where(radius < 15, 0.06, np.where(radius < 60, 0.0206, 0.0)).astype(np.float32), grid


def leg_image() -> np.ndarray:
    volume, grid = rod()
    return line_integrals(volume, grid, VIEW)


def test_every_degradation_takes_the_image_farther_away_in_steps() -> None:
    clean = leg_image()
    for name in ("burnt out", "underexposure", "scatter", "wires", "crop"):
        fault = DEGRADATIONS[name]
        assert fault.change is not None
        distances = [
            np.abs(fault.change(clean, VIEW, amount, np.random.default_rng(1)) - clean).mean() for amount in fault.steps
        ]
        assert distances == sorted(distances) and distances[-1] > distances[0] > 0, name


def test_blur_takes_the_steepness_of_edges() -> None:
    blur = DEGRADATIONS["blur"]
    assert blur.change is not None
    sharpness = [
        np.abs(np.diff(blur.change(leg_image(), VIEW, amount, np.random.default_rng(1)), axis=1)).max(axis=1).mean()
        for amount in blur.steps
    ]
    assert sharpness[0] > sharpness[1] > sharpness[2]


def test_the_same_seed_gives_the_same_image() -> None:
    for name in ("wires", "crop", "letters", "display curve"):
        change = DEGRADATIONS[name].change
        first, second = (change(leg_image(), VIEW, 2.0, np.random.default_rng(4)) for _ in range(2))
        assert np.array_equal(first, second), name


def test_letters_are_not_their_mirror_images() -> None:
    for name in ("R", "L", "P", "2"):
        assert not np.array_equal(glyph(name, 14), glyph(name, 14)[:, ::-1])


def test_the_points_have_each_fault_with_each_remedy(tmp_path: Path) -> None:
    write_ball_case(tmp_path / "cases" / "one")
    method = load_method("model", None, 32)
    made = plan(Request(cases=tmp_path / "cases", methods={method.name: method}))
    names = [point.name for point in made.points]
    assert len(set(names)) == len(names)
    for name, fault in DEGRADATIONS.items():
        for remedy in ("no remedy", "prepared"):
            assert sum(point.series == f"{name}, {remedy}" for point in made.points) == len(fault.steps)
    assert not any("match" in point.settings for point in made.points)
    look = fitted_style([leg_image()[:256, :256]], "a leg")
    look.save(tmp_path / "style.json")
    more = plan(Request(cases=tmp_path / "cases", methods={method.name: method}, look=tmp_path / "style.json"))
    # What was measured without matching still counts, and what was matched depends on what to.
    assert [point.settings for point in more.points[: len(made.points)]] == [point.settings for point in made.points]
    matched = more.points[len(made.points) :]
    assert {point.settings["match"]["style"] for point in matched} == {look.fingerprint}
    assert all(point.series.endswith("prepared and matched") for point in matched)
    other = Method("ssm", method.reconstruct, {})
    with pytest.raises(InputError, match="--model"):
        plan(Request(cases=tmp_path / "cases", methods={"ssm": other}))
    assert load_experiment("degradations")[0] is plan and load_experiment("two-sites")[0] is two_sites_plan


@pytest.mark.parametrize("site", SITES.values(), ids=list(SITES))
def test_a_site_shows_the_same_bones_in_other_grey_values(site: Site) -> None:
    volume, grid = rod()
    shown = site_image(site, volume, grid, VIEW, 1, line_integrals)
    assert (shown == np.round(shown)).all() and shown.min() >= 0 and shown.max() < 2**site.curve.bits
    clean = leg_image()
    inner = clean > 0.5
    assert 0.8 < np.corrcoef(shown[inner], clean[inner])[0, 1] < 0.999
    assert np.array_equal(shown, site_image(site, volume, grid, VIEW, 1, line_integrals))
    assert not np.array_equal(shown, site_image(site, volume, grid, VIEW, 2, line_integrals))


def test_site_c_is_noisier_and_steeper_than_site_b() -> None:
    volume, grid = rod()
    soft = (slice(100, 200), slice(185, 195))
    shown = {name: site_image(site, volume, grid, VIEW, 1, line_integrals) for name, site in SITES.items()}
    spread = {name: image[soft].std(axis=0).mean() / np.ptp(image) for name, image in shown.items()}
    assert spread["C"] > 1.5 * spread["B"]
    assert SITES["C"].settings != SITES["B"].settings and SITES["B"] is SITE_B


def test_a_style_goes_from_samples_to_a_file_and_into_a_reconstruction(tmp_path: Path) -> None:
    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.radiographs.radiograph import Radiograph
    from SSRKDCore.radiographs.style_matching import StyleReference
    from SSRKDCore.reconstruction.network_input import prepare_network_input

    write_cases(tmp_path / "cases", labelled=2, unlabelled=0)
    write_store(tmp_path / "samples", tmp_path / "cases")
    words = ["style-reference", "--samples", str(tmp_path / "samples"), "--out", str(tmp_path / "style.json")]
    assert main(words) == 0 and main(words) == 2
    look = StyleReference.load(tmp_path / "style.json")
    assert look.images == 4 and read_json(tmp_path / "style.json", "a style")["schema"] == "ssrkd-style-reference/1"
    # The bundled model reads larger images than these samples hold.
    model, rig = load_model(None), small_rig(128)
    images = [Radiograph(np.random.default_rng(i).random((128, 128)).astype(np.float32)) for i in range(2)]
    with pytest.raises(InputError, match="64 pixels"):
        prepare_network_input(images, rig, model, look=look)
    large = replace(look, size=256)
    found = prepare_network_input(images, rig, model, look=large)
    plain = prepare_network_input(images, rig, model)
    for one, other in zip(found.views, plain.views, strict=True):
        assert np.allclose(one.projection_matrix, other.projection_matrix)
    assert not np.allclose(found.images.numpy(), plain.images.numpy())


def test_contradictions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["experiment", "noise", "--cases", str(tmp_path), "--out", str(tmp_path / "out"), "--match-style", "x.json"]
    assert main(base) == 2
    assert "degradations" in capsys.readouterr().err
    words = [
        "reconstruct",
        "--ap",
        "a",
        "--lateral",
        "b",
        "--out",
        str(tmp_path / "o"),
        "--style",
        "s",
        "--match-style",
        "m",
    ]
    assert main(words) == 2
    assert "leave one of them out" in capsys.readouterr().err
