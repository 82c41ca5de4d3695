"""Style matching and style networks on the way to the bones: what the network reads, what refinement reads, where the reference is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_knee import baseline_model, baseline_rig, bone_radiographs
from knee_model import knee_model
from tiny_training import write_cases, write_store

from SSRKDCore.cli import main
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import read_json
from SSRKDCore.networks.model_folder import Model, ModelInput, add_style_reference, load_model, save_model
from SSRKDCore.networks.style_config import StyleConfig
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.radiographs.style_matching import StyleReference, fitted_style
from SSRKDCore.reconstruction import pipeline
from SSRKDCore.reconstruction.matched_style import load_look, look_of
from SSRKDCore.reconstruction.network_input import prepare_network_input, resampled_radiograph, target_view
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.refinement.shape_prior import write_shape_prior
from SSRKDCore.resource_files import sample_case_folder

SIZE = 128
_PRIOR = baseline_model()
_BONES = _PRIOR.surfaces(_PRIOR.pca.mean)


def knee_radiographs(rig: Rig, side: str = "right") -> list[Radiograph]:
    return [
        Radiograph(image, pixel_spacing=view.pixel_spacing, view=view.name, side=side, source_path=view.name)
        for image, view in zip(bone_radiographs(_BONES, rig), rig.views, strict=True)
    ]


@pytest.fixture(scope="module")
def look() -> StyleReference:
    """Of images without any sharp edge, so that matching blurs and bends the tones of every radiograph."""
    row, column = np.mgrid[:SIZE, :SIZE] / SIZE
    return fitted_style([np.exp(3 * np.sin(3 * row + k) * np.cos(2 * column)) for k in range(3)], "smooth waves")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Sees a knee whatever it is shown, reads standardised images, and brings a shape prior."""
    rig = baseline_rig()
    write_shape_prior(_PRIOR, tmp_path / "prior.safetensors")
    seeing = knee_model(rig)
    robust = ModelInput(standardisation=dict(ROBUST))
    folder = save_model(
        tmp_path / "model", seeing.network, seeing.config, name="seeing", model_input=robust,
        shape_prior=tmp_path / "prior.safetensors",
    )  # fmt: skip
    return replace(seeing, path=folder, card=load_model(folder).card, input=robust)


class Tones(torch.nn.Module):
    """Stands where a style network does, and squeezes the tones of dense parts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(0.8 * images)


def style_model() -> Model:
    config = StyleConfig(image_size=SIZE, features=8, halvings=4, blocks=1, knots=13, norm_groups=4)
    robust = ModelInput(standardisation=dict(ROBUST))
    return Model(Tones().eval(), config, "style", "tones", Path(), {"weights": {"sha256": "0" * 64}}, robust)


def test_the_network_reads_matched_images_in_the_geometry_of_the_radiographs(
    model: Model, look: StyleReference
) -> None:
    rig = baseline_rig()
    images = knee_radiographs(rig)
    plain = prepare_network_input(images, rig, model)
    found = prepare_network_input(images, rig, model, look=look)
    assert found.views == plain.views and found.matched == tuple(view.name for view in rig.views)
    for index, (view, image) in enumerate(zip(rig.views, images, strict=True)):
        resampled, coverage = resampled_radiograph(image, view, target_view(view, rig, SIZE), view.name)
        expected = standardise(look.matched(resampled, coverage), coverage, ROBUST)
        assert np.array_equal(found.images[0, index, 0].numpy(), expected)
        assert not np.allclose(found.images[0, index].numpy(), plain.images[0, index].numpy(), atol=0.05)


def test_what_is_usual_already_reaches_the_network_bit_by_bit(model: Model) -> None:
    rig = baseline_rig()
    images = knee_radiographs(rig)
    usual = fitted_style(
        [
            resampled_radiograph(image, view, target_view(view, rig, SIZE), view.name)[0]
            for image, view in zip(images, rig.views, strict=True)
        ],
        "both views",
    )
    plain = prepare_network_input(images, rig, model)
    found = prepare_network_input(images, rig, model, look=usual)
    assert found.matched == () and torch.equal(found.images, plain.images)
    ap_alone = fitted_style([resampled_radiograph(images[0], rig.views[0], found.views[0], "ap")[0]], "the first view")
    assert prepare_network_input(images, rig, model, look=ap_alone).matched == (rig.views[1].name,)


@pytest.mark.parametrize("remedy", ["look", "style"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_refinement_reads_the_radiographs_and_not_what_the_network_read(
    model: Model, look: StyleReference, remedy: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = baseline_rig()
    images = knee_radiographs(rig, side)
    given, network_reads = [], []
    original = pipeline.refined_bones

    def watched(surfaces, radiographs, its_rig, *others):
        given.append(([image.pixels.copy() for image in radiographs], its_rig))
        return original(surfaces, radiographs, its_rig, *others)

    monkeypatch.setattr(pipeline, "refined_bones", watched)
    change = {"look": look} if remedy == "look" else {"style": style_model()}
    result = reconstruct(
        images, rig, model, resolution=32, device="cpu", side=side, check_view_order=False,
        encoded=lambda its, maps: network_reads.append(its), **change,
    )  # fmt: skip
    (pixels, its_rig) = given[0]
    assert its_rig is rig
    for found, image in zip(pixels, images, strict=True):
        # Neither mirror image is the other, so that a swap or a flip on the way would show.
        assert np.array_equal(found, image.pixels) and not np.allclose(found, found[:, ::-1])
    plain = prepare_network_input(images, rig, model).images.numpy()
    assert not np.allclose(network_reads[0].images.numpy(), plain, atol=0.05)
    word = "smooth waves" if remedy == "look" else "tones"
    assert any(word in sentence for sentence in result.warnings)


def test_both_ways_at_once_and_references_that_do_not_fit_are_refused(model: Model, look: StyleReference) -> None:
    rig = baseline_rig()
    images = knee_radiographs(rig)
    with pytest.raises(InputError, match="leave one of them out"):
        reconstruct(images, rig, model, resolution=32, device="cpu", style=style_model(), look=look)
    with pytest.raises(InputError, match="line integrals as they are"):
        reconstruct(images, rig, replace(model, input=ModelInput()), resolution=32, device="cpu", look=look)
    small = replace(look, size=64)
    with pytest.raises(InputError, match=r"64 pixels a side .* reads 128"):
        reconstruct(images, rig, model, resolution=32, device="cpu", look=small)
    flat = [replace(image, pixels=np.ones_like(image.pixels)) for image in images]
    with pytest.raises(InputError, match="ap: The radiograph is constant"):
        reconstruct(flat, rig, model, resolution=32, device="cpu", look=look)


def test_a_model_brings_its_style_and_no_other(model: Model, look: StyleReference, tmp_path: Path) -> None:
    assert load_look(None, model) is None
    with pytest.raises(InputError, match=r"brings no style\.json.*style-reference"):
        load_look("model", model)
    look.save(tmp_path / "style.json")
    add_style_reference(model.path, tmp_path / "style.json")
    again = load_model(model.path)
    assert again.card["shape_prior"] == model.card["shape_prior"]
    assert look_of(again).source == "smooth waves" and look_of(again).values == pytest.approx(look.values, abs=1e-5)
    assert load_look(str(tmp_path / "style.json"), model).size == SIZE
    replace(look, images=4).save(model.path / "style.json")
    with pytest.raises(InputError, match=r"not the style reference that model\.json describes"):
        load_look("model", again)


def test_save_model_takes_a_style_reference_and_refuses_one_that_is_missing(
    look: StyleReference, tmp_path: Path
) -> None:
    network = knee_model(baseline_rig())
    look.save(tmp_path / "look.json")
    folder = save_model(
        tmp_path / "with", network.network, network.config, name="with", style_reference=tmp_path / "look.json"
    )
    assert look_of(load_model(folder)).images == 3
    with pytest.raises(InputError, match=r"style reference .* cannot be copied"):
        save_model(
            tmp_path / "without", network.network, network.config, name="w", style_reference=tmp_path / "none.json"
        )
    assert not (tmp_path / "without").exists()


def test_the_command_puts_a_style_into_a_model_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cases(tmp_path / "cases", labelled=2, unlabelled=0)
    write_store(tmp_path / "samples", tmp_path / "cases")
    network = knee_model(baseline_rig())
    folder = save_model(tmp_path / "model", network.network, network.config, name="m")
    words = ["style-reference", "--samples", str(tmp_path / "samples"), "--model", str(folder)]
    assert main(words) == 0
    found = look_of(load_model(folder))
    assert found.images == 4 and found.size == 64
    assert main(words) == 2 and "use --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--cases", "1"]) == 0
    assert look_of(load_model(folder)).images == 2
    assert main(["style-reference", "--samples", str(tmp_path / "samples"), "--model", str(tmp_path)]) == 2
    assert not (tmp_path / "style.json").exists()


def test_the_bundled_model_brings_its_style() -> None:
    model = load_model(None)
    found = look_of(model)
    assert found.size == model.config.input_size and found.images >= 100
    assert (model.path / "style.json").stat().st_size < 4096


def test_reconstruct_matches_to_the_style_of_the_model_and_says_so(tmp_path: Path) -> None:
    """The whole command, without a value, with the word and with the file: the same bones."""
    sample = sample_case_folder()
    case = ["--ap", str(sample / "ap.dcm"), "--lateral", str(sample / "lateral.dcm"), "--rig", str(sample / "rig.json")]
    reports = []
    for number, choice in enumerate([[], ["model"], [str(load_model(None).path / "style.json")]]):
        out = tmp_path / str(number)
        words = [*case, "--resolution", "32", "--device", "cpu", "--no-trust", "--no-refine", "--out", str(out)]
        assert main(["reconstruct", "--match-style", *choice, *words]) == 0
        reports.append(read_json(out / "report.json", "a report"))
    assert all(any("usual for 100 cases" in words for words in report["warnings"]) for report in reports)
    volumes = [{name: bone["volume_mm3"] for name, bone in report["bones"].items()} for report in reports]
    assert volumes[0] == volumes[1] == volumes[2]
