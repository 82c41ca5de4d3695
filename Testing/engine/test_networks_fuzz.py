"""Random damage to checkpoints, model folders and golden files: a clear error, never another exception."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SSRKDCore.errors import InputError
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.config import SegmenterConfig
from SSRKDCore.networks.model_folder import load_model, save_model
from SSRKDCore.networks.published_import import read_published
from SSRKDCore.networks.reference_check import read_golden
from SSRKDCore.networks.weights_file import sha256_of

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: Where and what to overwrite, and where to cut.
DAMAGE = st.tuples(
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6), st.floats(0.01, 1)
)


def _damaged(content: bytes, damage: tuple[list[tuple[float, bytes]], float]) -> bytes:
    edits, kept = damage
    changed = bytearray(content)
    for where, what in edits:
        start = int(where * len(changed))
        changed[start : start + len(what)] = what
    return bytes(changed[: max(1, int(kept * len(changed)))])


def _checkpoint_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.save({"A": {"im_filter.block_one.conv.0.weight": torch.ones(16, 1, 3, 3, 3)}, "B": {}}, buffer)
    return buffer.getvalue()


CHECKPOINT = _checkpoint_bytes()


@FUZZ
@given(content=st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: b"PK\x03\x04" + tail)))
def test_random_bytes_are_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "random.pth"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_published(path)


@FUZZ
@given(damage=DAMAGE)
def test_damaged_checkpoints_are_refused(damage: tuple[list[tuple[float, bytes]], float], tmp_path: Path) -> None:
    path = tmp_path / "damaged.pth"
    path.write_bytes(_damaged(CHECKPOINT, damage))
    with pytest.raises(InputError):
        read_published(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SegmenterConfig(1, (2, 4), 2)
    return save_model(tmp_path_factory.mktemp("fuzz") / "model", build_network(config), config, name="fuzzed")


def _copy(saved: Path, folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for path in saved.iterdir():
        (folder / path.name).write_bytes(content if path.name == name else path.read_bytes())


@FUZZ
@given(damage=DAMAGE)
def test_damaged_descriptions_are_refused_or_harmless(
    damage: tuple[list[tuple[float, bytes]], float], saved: Path, tmp_path: Path
) -> None:
    content = _damaged((saved / "model.json").read_bytes(), damage)
    _copy(saved, tmp_path / "m", "model.json", content)
    try:
        model = load_model(tmp_path / "m")
    except InputError:
        return
    # Loaded: then the damage hit words for people only, and network and weights are the ones saved.
    assert model.config == SegmenterConfig(1, (2, 4), 2)
    assert json.loads(content)["weights"]["sha256"] == sha256_of(saved / "weights.safetensors")


@FUZZ
@given(damage=DAMAGE)
def test_damaged_weights_are_refused_or_finite(
    damage: tuple[list[tuple[float, bytes]], float], saved: Path, tmp_path: Path
) -> None:
    """Even with a hash that was made to fit, damaged weights are refused or load as finite numbers."""
    folder = tmp_path / "m"
    _copy(saved, folder, "weights.safetensors", _damaged((saved / "weights.safetensors").read_bytes(), damage))
    if (folder / "weights.safetensors").read_bytes() != (saved / "weights.safetensors").read_bytes():
        with pytest.raises(InputError, match="sha256 differs"):
            load_model(folder)
    description = json.loads((folder / "model.json").read_text())
    description["weights"]["sha256"] = sha256_of(folder / "weights.safetensors")
    (folder / "model.json").write_text(json.dumps(description))
    try:
        network = load_model(folder).network
    except InputError:
        return
    for tensor in network.state_dict().values():
        assert bool(torch.isfinite(tensor).all())


@FUZZ
@given(damage=DAMAGE)
def test_damaged_golden_files_are_refused_or_read(
    damage: tuple[list[tuple[float, bytes]], float], tmp_path: Path
) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, logits=np.zeros((1, 2, 4, 4), np.float32))
    path.write_bytes(_damaged(path.read_bytes(), damage))
    try:
        arrays = read_golden(path)
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
