"""Training on two processes (DDP over gloo on the CPU): the same steps as one process with twice the batch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_toy import train

from SSRKDCore.training.checkpoints import CHECKPOINT_NAME, averaged_weights, read_checkpoint

_TOY = Path(__file__).with_name("training_toy.py")
_STEPS = 30
# No batch statistics and no dropout: these see one process's share of a batch, by design.
_OPTIONS: dict[str, Any] = {"steps": _STEPS, "normalised": False}


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def _start(command: list[str], folder: Path, **options: Any) -> subprocess.Popen[str]:
    words = [sys.executable, *command, str(_TOY), str(folder), json.dumps({**_OPTIONS, **options})]
    return subprocess.Popen(words, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights after the same steps by one process that takes the cards of both: 4 a step, not 2."""
    folder = tmp_path_factory.mktemp("one")
    train(folder, _STEPS, normalised=False, share=4)
    return averaged_weights(read_checkpoint(folder / CHECKPOINT_NAME))


def _assert_same_training(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    """Both processes end with the same bits; they differ from one process by the rounding of sums in another order."""
    first, second = (torch.load(folder.parent / f"result{rank}.pt", weights_only=True) for rank in (0, 1))
    stored = averaged_weights(read_checkpoint(folder / CHECKPOINT_NAME))
    for name, value in expected.items():
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], stored[name])
        # float32 sums of 64 terms err by about 1e-6 of their size; AdamW divides by small second moments at first.
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)


def test_two_nodes_started_by_torchrun_equal_one_process(one_process: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Two torchrun launchers, as on two computers, with a process each."""
    folder, port = tmp_path / "run", _free_port()
    nodes = [
        _start(
            ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}",
             "--master-addr=127.0.0.1", f"--master-port={port}"],
            folder, run={"nodes": 2},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for node in nodes:
        output, _ = node.communicate(timeout=400)
        assert node.returncode == 0, output
    _assert_same_training(folder, one_process)


def test_two_devices_stopped_by_a_signal_and_resumed_equal_one_process(
    one_process: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """`devices=2` starts the second process itself; a SIGTERM to the first alone stops both after the same step."""
    folder = tmp_path / "run"
    run = {"devices": 2, "checkpoint_steps": 3, "checkpoint_minutes": 0.0}
    first = _start([], folder, run=run, seconds=0.1)
    deadline = time.monotonic() + 400
    while not (folder / CHECKPOINT_NAME).is_file() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=400)
    assert "Cancelled: Stopped after step" in output and first.returncode != 0
    stopped = int(read_checkpoint(folder / CHECKPOINT_NAME)["global_step"])
    assert 3 <= stopped < _STEPS
    second = _start([], folder, run=run)
    output, _ = second.communicate(timeout=400)
    assert second.returncode == 0, output
    _assert_same_training(folder, one_process)
