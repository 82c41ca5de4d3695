"""Model folders: what is saved is loaded, and everything that does not fit is refused with the reason."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from SSRKDCore.errors import InputError
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.config import CtNetworkConfig, NetworkConfig, SegmenterConfig, XrayNetworkConfig, xray_config
from SSRKDCore.networks.model_folder import (
    Model,
    ModelInput,
    load_model,
    resolve_model_path,
    save_model,
)
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.resource_files import models_folder

TWO_CHANNELS = XrayNetworkConfig(
    input_size=32,
    input_channels=2,
    view_count=2,
    separate_encoders=True,
    stacks=1,
    features=8,
    hourglass_depth=1,
    stem_features=4,
    norm_groups=2,
    depth_per_view=True,
    classifier_hidden=(6,),
    kd_features=4,
    sampling="pixel_centres",
)
SEGMENTER = SegmenterConfig(1, (4, 8), 2)
CT = CtNetworkConfig(1, 2, 4, (6,))


def _save(folder: Path, config: NetworkConfig, **options: Any) -> Path:
    torch.manual_seed(6)
    return save_model(folder, build_network(config), config, name="test model", **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _save(tmp_path / "mödel with space", CT)


def _describe(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    change(description)
    path.write_text(json.dumps(description), encoding="utf-8")


def _rehash(folder: Path) -> None:
    digest = sha256_of(folder / "weights.safetensors")
    _describe(folder, lambda description: description["weights"].update(sha256=digest))


def _change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    _rehash(folder)


@pytest.mark.parametrize("config", [TWO_CHANNELS, SEGMENTER, CT])
def test_round_trip_keeps_every_number(config: NetworkConfig, tmp_path: Path) -> None:
    torch.manual_seed(7)
    network = build_network(config)
    model_input = ModelInput(6.0, 0.5, {"method": "percentile", "upper": 99.5})
    training = {"cases": 12, "femur_assd_mm": 1.25}
    save_model(
        tmp_path / "m", network, config, name="a name", model_input=model_input, training=training, licence="CC-BY-4.0"
    )
    model = load_model(tmp_path / "m")
    assert model.config == config and model.name == "a name" and model.path == tmp_path / "m"
    assert model.input == model_input and model.intensity_scale == 6
    assert model.standardisation == {"method": "percentile", "upper": 99.5}
    assert model.card["training"] == training and model.card["licence"] == "CC-BY-4.0"
    assert not model.network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], tensor), name
    card = (tmp_path / "m" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "# a name" in card and "femur assd mm: 1.25" in card and "not a medical device" in card


def test_half_precision_storage_loads_as_single(tmp_path: Path) -> None:
    config = xray_config("compact")
    whole, half = _save(tmp_path / "whole", config), _save(tmp_path / "half", config, dtype="float16")
    sizes = [(path / "weights.safetensors").stat().st_size for path in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0] and sizes[1] < 20e6
    expected, found = load_model(whole).network.state_dict(), load_model(half).network.state_dict()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        # Half precision keeps 11 bits of a number.
        torch.testing.assert_close(tensor, expected[name], rtol=2**-11, atol=1e-7)


def test_loaded_network_can_be_trained_on(folder: Path) -> None:
    network = load_model(folder).network.train()
    loss = network(torch.rand(2, 1, 16, 16, 16), torch.zeros(2, 3, 4)).logits[-1].sum()
    loss.backward()
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters())


def test_weights_are_readable_by_others(folder: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes["weights.safetensors"] == modes["model.json"]


def test_the_segmenter_travels_inside(tmp_path: Path) -> None:
    segmenter = load_model(_save(tmp_path / "segmenter", SEGMENTER, training={"images": 5}))
    without = load_model(_save(tmp_path / "without", TWO_CHANNELS))
    assert without.segmenter is None
    with pytest.raises(InputError, match="has no segmenter folder"):
        without.require_segmenter()
    model = load_model(_save(tmp_path / "with", TWO_CHANNELS, segmenter=segmenter))
    inside = model.require_segmenter()
    assert inside.config == SEGMENTER and inside.card["training"] == {"images": 5}
    for name, tensor in segmenter.network.state_dict().items():
        assert torch.equal(inside.network.state_dict()[name], tensor)
    shutil.rmtree(tmp_path / "with" / "segmenter")
    shutil.copytree(tmp_path / "without", tmp_path / "with" / "segmenter")
    with pytest.raises(InputError, match="not a segmenter"):
        load_model(tmp_path / "with")
    with pytest.raises(InputError, match="cannot serve as a segmenter"):
        _save(tmp_path / "other", TWO_CHANNELS, segmenter=without)


def test_only_a_complete_folder_appears(tmp_path: Path) -> None:
    network = build_network(CT)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="NaN"):
        save_model(tmp_path / "m", network, CT, name="broken")
    with torch.no_grad():
        next(network.parameters()).fill_(1e6)
    with pytest.raises(InputError, match="float16"):
        save_model(tmp_path / "m", network, CT, name="broken", dtype="float16")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="float32 or float16"):
        save_model(tmp_path / "m", network, CT, name="broken", dtype="int8")


def test_an_existing_folder_is_not_replaced(folder: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        _save(folder, SEGMENTER)
    assert load_model(folder).kind == "ct"
    assert load_model(_save(folder, SEGMENTER, overwrite=True)).kind == "segmenter"


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "MODEL_CARD.md"])
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_model(folder)


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(description: dict[str, Any]) -> None:
        for key in keys[:-1]:
            description = description[key]
        description[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("schema", to="ssrkd-model/2"), "ssrkd-model/2.*this version reads ssrkd-model/1"),
        (_set("schema", to=None), "schema"),
        (_set("kind", to="mri"), "kind 'mri'"),
        (_set("kind", to=["ct"]), "kind"),
        (_set("kind", to="segmenter"), "architecture of a SegmenterConfig"),
        (_set("name", to=" "), "name"),
        (lambda description: description.pop("licence"), "lacks licence"),
        (lambda description: description.pop("architecture"), "lacks architecture"),
        (_set("architecture", to=[]), "is a list"),
        (_set("architecture", "base_filters", to="2"), "base_filters must be int"),
        (_set("architecture", "base_filters", to=10**7), "base_filters must be 1 to 256"),
        (_set("architecture", "base_filters", to=4), r"does not fit the architecture: .* has shape"),
        (_set("architecture", "classifier_hidden", to=[6, 6]), "does not fit the architecture: it lacks"),
        (_set("input", to={}), "describe the input"),
        (_set("input", "intensity_scale", to=True), "describe the input"),
        (_set("input", "intensity_scale", to=-1), "describe the input"),
        (_set("input", "standardisation", to="none"), "describe the input"),
        (_set("weights", to="weights.safetensors"), "does not describe its weights"),
        (_set("weights", "sha256", to="0" * 64), "sha256 differs"),
        (_set("weights", "sha256", to="abc"), "no usable sha256"),
        (_set("weights", "dtype", to="int8"), "stores weights as 'int8'"),
        (_set("weights", "dtype", to="float16"), "stored as F32, not F16"),
        (_set("weights", "file", to="../weights.safetensors"), "outside its folder"),
        (_set("weights", "file", to="/etc/passwd"), "outside its folder"),
        (_set("weights", "file", to="C:\\weights.safetensors"), "outside its folder"),
        (_set("weights", "file", to="..\\weights.safetensors"), "outside its folder"),
        (_set("weights", "file", to=".."), "outside its folder"),
        (_set("weights", "file", to="a\0b"), "outside its folder"),
        (_set("weights", "file", to=""), "outside its folder"),
        (_set("weights", "file", to="other.safetensors"), "is missing"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], None], words: str, folder: Path
) -> None:
    _describe(folder, change)
    with pytest.raises(InputError, match=words):
        load_model(folder)


def test_bad_json_is_refused(folder: Path) -> None:
    for content in (b"", b"{", b"[1, 2]", b"\xff\xfe", b"{}", b'{"schema": NaN}'):
        (folder / "model.json").write_bytes(content)
        with pytest.raises(InputError, match=r"model\.json"):
            load_model(folder)


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    shutil.move(folder / "weights.safetensors", outside)
    try:
        (folder / "weights.safetensors").symlink_to(outside)
    except OSError:
        pytest.skip("this system does not let the test make a symbolic link")
    with pytest.raises(InputError, match="outside its folder"):
        load_model(folder)


def test_changed_weights_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="sha256 differs"):
        load_model(folder)
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match="sha256 differs"):
        load_model(folder)


def test_oversized_weights_are_refused_unread(folder: Path) -> None:
    with pytest.raises(InputError, match="more than the 1000"):
        load_model(folder, max_bytes=1000)


def test_tensors_that_do_not_fit_are_refused_even_with_the_right_hash(folder: Path) -> None:
    name = "classifier.layers.0.bias"
    intact = (folder / "weights.safetensors").read_bytes()
    changes: list[tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = [
        (lambda tensors: tensors.pop(name), "lacks 1 tensors such as classifier"),
        (lambda tensors: tensors.update({"spy": torch.ones(1)}), "unknown tensors such as spy"),
        (lambda tensors: tensors.update({name: torch.ones(7)}), r"shape \(7,\), not \(6,\)"),
        (lambda tensors: tensors.update({name: torch.ones(6, dtype=torch.float64)}), "stored as F64"),
        (lambda tensors: tensors.update({name: torch.ones(6, dtype=torch.int64)}), "stored as I64"),
        (lambda tensors: tensors.update({name: torch.full((6,), float("nan"))}), "NaN or infinite"),
    ]
    for change, words in changes:
        (folder / "weights.safetensors").write_bytes(intact)
        _change_weights(folder, change)
        with pytest.raises(InputError, match=words):
            load_model(folder)
    (folder / "weights.safetensors").write_bytes(b"no safetensors file at all")
    _rehash(folder)
    with pytest.raises(InputError, match="not a safetensors file"):
        load_model(folder)


def test_folders_and_names_that_are_not_there(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no model folder"):
        load_model(tmp_path / "absent")
    with pytest.raises(InputError, match="is not a model folder"):
        load_model(folder / "model.json")
    with pytest.raises(InputError, match="device 'warp'"):
        load_model(folder, device="warp")
    monkeypatch.setattr("SSRKDCore.networks.model_folder.models_folder", lambda: tmp_path)
    with pytest.raises(InputError, match="bundled model is missing"):
        resolve_model_path(None)
    shutil.copytree(folder, tmp_path / "compact")
    assert resolve_model_path(None) == resolve_model_path("compact") == tmp_path / "compact"
    assert models_folder().name == "Models"


def test_models_are_immutable_records(folder: Path) -> None:
    model = load_model(folder)
    assert isinstance(model, Model)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.name = "other"  # type: ignore[misc]
