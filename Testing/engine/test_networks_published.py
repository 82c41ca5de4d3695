"""Released checkpoints: every name mapped once, golden outputs, and refusal of everything else."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from SSRKDCore.commands import import_weights
from SSRKDCore.errors import InputError
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.networks.published_import import read_published
from SSRKDCore.networks.published_layout import PUBLISHED_NAMES, published_layout, recognise
from SSRKDCore.networks.reference_check import (
    largest_difference,
    read_golden,
    reference_ct_inputs,
    reference_weights,
    reference_xray_inputs,
)

State = dict[str, Tensor]


def _weights(name: str, seed: int = 20260) -> State:
    return reference_weights(published_layout(name).shapes, seed)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The three files in the released layout, with the weights of the rule, written when first asked for."""
    folder = tmp_path_factory.mktemp("released")

    def path_of(name: str) -> Path:
        path = folder / f"{name}.pth"
        if not path.exists():
            state = _weights(name)
            torch.save(state if name == "recon_xray" else {"A": state, "B": _weights(name, seed=7)}, path)
        return path

    return path_of


@pytest.fixture(scope="module")
def ct_state() -> State:
    return _weights("recon_ct")


def _arguments(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    import_weights.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_every_released_name_is_used_exactly_once(name: str, shared_reference: Path) -> None:
    released = {
        key: tuple(shape)
        for key, shape in json.loads((shared_reference / "state_dict_keys.json").read_text())[name].items()
    }
    layout = published_layout(name)
    groups = [set(layout.parameters), set(layout.aliases), set(layout.unused)]
    assert sum(map(len, groups)) == len(released) and set().union(*groups) == released.keys()
    assert layout.shapes == released
    # ... and every parameter of ours is filled by exactly one of them.
    with torch.device("meta"):
        ours = build_network(layout.config).state_dict()
    assert sorted(layout.parameters.values()) == sorted(ours)
    assert set(layout.aliases.values()) <= layout.parameters.keys()
    found = recognise(released)
    assert found is not None and found.name == name


def test_the_reference_inputs_are_those_of_the_golden_file(shared_reference: Path) -> None:
    golden = read_golden(shared_reference / "golden.npz")
    np.testing.assert_array_equal(golden["recon_xray.points"], reference_xray_inputs()[1].numpy())
    np.testing.assert_array_equal(golden["recon_ct.points"], reference_ct_inputs()[1].numpy())


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_golden_outputs_are_reproduced(
    name: str, checkpoints: Callable[[str], Path], shared_reference: Path, tmp_path: Path
) -> None:
    """The whole way: released file -> import -> comparison -> model folder. One run of each full-size network."""
    out = tmp_path / "model ünïcode"
    golden = shared_reference / "golden.npz"
    result = import_weights.run(_arguments(checkpoints(name), "--out", out, "--verify", golden))
    assert result["verified"] and result["largest_difference"] < 1e-4
    assert set(result["differences"]) == {
        key for key in np.load(golden).files if key.startswith(name) and not key.endswith("points")
    }
    assert "exit_code" not in result
    model = load_model(out)
    assert model.kind == published_layout(name).kind and model.config == published_layout(name).config
    assert model.card["licence"] == "MIT"
    if name == "recon_xray":
        assert model.intensity_scale == 6 and model.input.background_weight == 0.5
        with pytest.raises(InputError, match="--segmenter"):
            model.require_segmenter()


def test_another_seed_is_another_answer(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    """A golden file of seed 5 accepts weights of seed 5 and refuses those of the default seed."""
    state = _weights("bone_seg", seed=5)
    path = tmp_path / "seed5.pth"
    torch.save(state, path)
    network = read_published(path).network
    with torch.inference_mode():
        from SSRKDCore.networks.reference_check import reference_segmenter_input

        logits = network(reference_segmenter_input(5))[:, :, ::8, ::8].numpy()
    golden = tmp_path / "golden5.npz"
    np.savez(golden, **{"bone_seg.logits": logits})
    good = import_weights.run(_arguments(path, "--out", tmp_path / "good", "--verify", golden, "--seed", 5))
    assert good["largest_difference"] < 1e-5
    out = tmp_path / "bad"
    wrong = import_weights.run(_arguments(checkpoints("bone_seg"), "--out", out, "--verify", golden, "--seed", 5))
    assert wrong["exit_code"] == 1 and wrong["largest_difference"] > 1e-2
    assert not out.exists()
    with pytest.raises(InputError, match=r"lack recon_ct\.logits"):
        largest_difference(read_published(checkpoints("recon_ct")).network, read_golden(golden), 5)


def test_the_peer_asked_for_is_taken(checkpoints: Callable[[str], Path]) -> None:
    a, b = read_published(checkpoints("recon_ct")), read_published(checkpoints("recon_ct"), peer="B")
    name = "im_filter.head_9.conv.0.weight"
    ours = published_layout("recon_ct").parameters[name]
    assert torch.equal(a.network.state_dict()[ours], _weights("recon_ct")[name])
    assert torch.equal(b.network.state_dict()[ours], _weights("recon_ct", seed=7)[name])
    assert (a.peer, b.peer) == ("A", "B")


def test_segmenter_is_nested_in_the_xray_model(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = import_weights.run(
        _arguments(checkpoints("recon_xray"), "--out", out, "--segmenter", checkpoints("bone_seg"))
    )
    assert result["segmenter"] is True
    model = load_model(out)
    assert model.require_segmenter().kind == "segmenter"
    assert model.require_segmenter().path == out / "segmenter"
    with pytest.raises(InputError, match="not the segmenter"):
        import_weights.run(
            _arguments(checkpoints("recon_xray"), "--out", tmp_path / "b", "--segmenter", checkpoints("recon_ct"))
        )
    with pytest.raises(InputError, match="needs no segmenter"):
        import_weights.run(
            _arguments(checkpoints("recon_ct"), "--out", tmp_path / "c", "--segmenter", checkpoints("bone_seg"))
        )


def test_an_existing_folder_is_kept_unless_overwritten(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists"):
        import_weights.run(_arguments(checkpoints("recon_ct"), "--out", out))
    assert (out / "mine.txt").read_text() == "keep"
    import_weights.run(_arguments(checkpoints("recon_ct"), "--out", out, "--overwrite"))
    assert load_model(out).kind == "ct"


def test_second_name_of_a_tensor_must_agree(tmp_path: Path) -> None:
    state = _weights("recon_xray")
    name = "frontal_filter.conv2.bn4.weight"
    assert torch.equal(state[name], state["frontal_filter.conv2.downsample.0.weight"])
    state[name] = state[name] + 1e-3
    path = tmp_path / "alias.pth"
    torch.save(state, path)
    with pytest.raises(InputError, match=r"bn4\.weight and .*downsample\.0\.weight are one tensor but differ"):
        read_published(path)


def _without_a_tensor(state: State) -> Any:
    return {name: value for name, value in state.items() if name != "surface_classifier.conv0.bias"}


def _with_a_tensor_too_many(state: State) -> Any:
    return {**state, "extra.weight": torch.ones(1)}


def _with_a_renamed_tensor(state: State) -> Any:
    return {name.replace("surface_classifier", "classifier"): value for name, value in state.items()}


def _with(value: Any, name: str = "surface_classifier.conv0.bias") -> Callable[[State], Any]:
    return lambda state: {**state, name: value}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_a_tensor, r"lacks surface_classifier\.conv0\.bias"),
        (_with_a_tensor_too_many, r"unknown extra\.weight"),
        (_with_a_renamed_tensor, r"lacks surface_classifier.* and has the unknown classifier"),
        (_with(torch.ones(127)), r"shape \(127,\).*\(128,\)"),
        (_with(torch.full((128,), float("nan"))), "NaN or infinite"),
        (_with(torch.full((128,), float("inf"))), "NaN or infinite"),
        (_with(torch.ones(128, dtype=torch.int64)), "not floating point"),
        (_with(torch.ones(128, dtype=torch.complex64)), "not floating point"),
        (_with([1.0] * 128), "not a plain tensor"),
        (_with(torch.ones(128).to_sparse()), "not a plain tensor"),
        (_with(torch.ones(128, device="meta")), "not a plain tensor"),
        (_with(-torch.ones(16), "im_filter.block_one.conv.1.running_var"), "negative variance"),
        (lambda state: {"A": 3, "B": state}, "peer A is not a set of named tensors"),
        (lambda state: {}, "no released SSR-KD network"),
        (lambda state: {"model": torch.ones(2)}, "no released SSR-KD network"),
        (lambda state: [torch.ones(2)], "holds a list"),
        (lambda state: torch.ones(3), "holds a Tensor"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    change: Callable[[State], Any], words: str, ct_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "changed.pth"
    torch.save(change(ct_state), path)
    with pytest.raises(InputError, match=words) as caught:
        read_published(path)
    assert str(path) in str(caught.value)


def test_peer_b_of_a_single_network_is_refused(ct_state: State, tmp_path: Path) -> None:
    path = tmp_path / "single.pth"
    torch.save(ct_state, path)
    with pytest.raises(InputError, match="one network"):
        read_published(path, peer="B")


class _RunsCode:
    """A pickle of this object makes a folder when it is opened by a careless reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.folder),))


def _runs_a_command(marker: Path) -> Any:
    class RunsACommand:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, (f"mkdir '{marker}'",))

    return RunsACommand()


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "code ran"
    for index, payload in enumerate((_RunsCode(marker), _runs_a_command(marker))):
        archive, bare = tmp_path / f"archive{index}.pth", tmp_path / f"bare{index}.pth"
        torch.save({"im_filter.block_one.conv.0.weight": payload}, archive)
        bare.write_bytes(pickle.dumps(payload))
        with pytest.raises(InputError, match="could run code"):
            read_published(archive)
        with pytest.raises(InputError, match="not a PyTorch checkpoint"):
            read_published(bare)
    assert not marker.exists()
    # The payload is a real one: a careless reader does run it.
    pickle.loads(pickle.dumps(_RunsCode(marker)))
    assert marker.exists()


def test_unreadable_files_are_refused(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    whole = checkpoints("recon_ct").read_bytes()
    files = {
        "empty.pth": (b"", "is empty"),
        "picture.pth": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a PyTorch checkpoint"),
        "cut.pth": (whole[: len(whole) // 2], "damaged or cut short"),
    }
    for name, (content, words) in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_published(path)
    with pytest.raises(InputError, match="check the path"):
        read_published(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="is a folder"):
        read_published(tmp_path)
    with pytest.raises(InputError, match="more than the 1000 of any released checkpoint"):
        read_published(checkpoints("recon_ct"), max_bytes=1000)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to more"):
        read_published(path, max_bytes=100_000)


def test_golden_files_are_checked(tmp_path: Path, ct_state: State) -> None:
    path = tmp_path / "ct.pth"
    torch.save(ct_state, path)
    network = read_published(path).network
    with pytest.raises(InputError, match="shape"):
        largest_difference(network, {"recon_ct.logits": np.zeros((1, 5, 3)), "recon_ct.features": np.zeros(2)})
    bad = tmp_path / "golden.npz"
    bad.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"not a \.npz"):
        read_golden(bad)
    with pytest.raises(InputError, match="check the path"):
        read_golden(tmp_path / "absent.npz")
    np.savez(bad, objects=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"not a \.npz"):
        read_golden(bad)
    with pytest.raises(InputError, match="--verify"):
        import_weights.run(_arguments(path, "--out", tmp_path / "out", "--seed", 3))
