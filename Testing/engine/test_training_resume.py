"""A stage that is killed, at any moment and any number of times, ends with the same weights as one that never was."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_toy import STOPPED, train, train_and_exit

from SSRKDCore.errors import InputError
from SSRKDCore.training.checkpoints import CHECKPOINT_NAME, averaged_weights, read_checkpoint

_STEPS = 60
# A server that has torch already forks the children: quick, and without the threads that earlier tests have started here.
_start = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
if "forkserver" in multiprocessing.get_all_start_methods():
    _start.set_forkserver_preload(["training_toy", "pytest"])


def _started(folder: Path, **options: Any) -> Any:
    child = _start.Process(target=train_and_exit, args=(folder, _STEPS, options))
    child.start()
    return child


def _stored_step(folder: Path) -> int:
    path = folder / CHECKPOINT_NAME
    return int(read_checkpoint(path)["global_step"]) if path.is_file() else 0


def _changes(folder: Path) -> int:
    """When the checkpoint was last renamed into place; cheap to ask."""
    path = folder / CHECKPOINT_NAME
    return path.stat().st_mtime_ns if path.is_file() else 0


def _wait_for_checkpoint(folder: Path, child: Any) -> None:
    """Until the child has written one."""
    before = _changes(folder)
    while _changes(folder) == before and child.is_alive():
        time.sleep(0.01)


def _state(folder: Path) -> dict[str, Any]:
    """All that decides how training would go on, and what is exported."""
    checkpoint = read_checkpoint(folder / CHECKPOINT_NAME)
    return {
        "weights": checkpoint["state_dict"],
        "optimiser": checkpoint["optimizer_states"],
        "rate": checkpoint["lr_schedulers"],
        "average": averaged_weights(checkpoint),
        "step": checkpoint["global_step"],
    }


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    return first == second


def _steps_in_log(folder: Path) -> list[str]:
    """The log without the seconds, which differ."""
    lines = (folder / "log.csv").read_text().splitlines()
    return [",".join(part for index, part in enumerate(line.split(",")) if index != 1) for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder, _STEPS)
    return folder


def test_killed_at_random_moments_gives_bit_identical_weights_and_the_same_log(
    undisturbed: Path, tmp_path: Path
) -> None:
    """SIGKILL a random while after the first checkpoint of each of four lives. With a checkpoint after every step, many kills
    fall into the writing of one; with one after every fifth, steps are repeated.
    """
    folder = tmp_path / "run"
    kills = 0
    for every in (1, 1, 5, 1):
        child = _started(folder, seconds=0.02, run={"checkpoint_steps": every})
        _wait_for_checkpoint(folder, child)
        time.sleep(random.uniform(0.0, 0.06))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
    assert kills >= 2
    train(folder, _STEPS)
    assert _same(_state(folder), _state(undisturbed))
    assert _steps_in_log(folder) == _steps_in_log(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_a_step_with_a_checkpoint(number: int, undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = _started(folder, seconds=0.02, run={"checkpoint_steps": 4, "checkpoint_minutes": 0.0})
    _wait_for_checkpoint(folder, child)
    time.sleep(0.03)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == STOPPED
    assert 4 <= _stored_step(folder) < _STEPS
    result = train(folder, _STEPS)
    assert _same(_state(folder), _state(undisturbed))
    assert result.steps == _STEPS


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_scheduler_that_signals_the_workers_too_gets_a_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = {"seconds": 0.05, "run": {"checkpoint_steps": 4, "checkpoint_minutes": 0.0, "loader_workers": 1}}
    program = f"from pathlib import Path; import training_toy as toy; toy.train_and_exit(Path({str(folder)!r}), {_STEPS}, {options!r})"
    child = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent, start_new_session=True)
    while not (folder / CHECKPOINT_NAME).is_file() and child.poll() is None:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait() == STOPPED
    assert 4 <= _stored_step(folder) < _STEPS
    train(folder, _STEPS)
    assert _same(_state(folder), _state(undisturbed))


def test_signals_do_afterwards_what_they_did_before(tmp_path: Path) -> None:
    heard: list[int] = []
    before = {number: signal.signal(number, lambda n, _: heard.append(n)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        train(tmp_path / "run", 3)
        for number in before:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [signal.SIGTERM, signal.SIGINT]


def test_a_finished_run_is_not_trained_again(undisturbed: Path) -> None:
    before = (undisturbed / CHECKPOINT_NAME).read_bytes()
    first, second = train(undisturbed, _STEPS), train(undisturbed, _STEPS)
    assert (undisturbed / CHECKPOINT_NAME).read_bytes() == before
    assert _same(first.module.state_dict(), second.module.state_dict())
    assert _same(first.module.state_dict(), averaged_weights(read_checkpoint(undisturbed / CHECKPOINT_NAME)))
    assert second.validation == first.validation and "validation_wrong" in second.validation


def test_loader_processes_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", _STEPS, run={"loader_workers": 1})
    assert _same(_state(tmp_path / "run"), _state(undisturbed))


def test_other_settings_are_refused_by_name(undisturbed: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.learning_rate \(0\.01 there, 0\.02 now\)"):
        train(undisturbed, _STEPS, learning_rate=0.02)
    with pytest.raises(InputError, match="steps"):
        train(undisturbed, _STEPS + 1)
    with pytest.raises(InputError, match="precision"):
        train(undisturbed, _STEPS, run={"precision": "bf16-mixed"})
    # How often it writes is no part of what the run is.
    train(undisturbed, _STEPS, run={"checkpoint_steps": 5, "log_steps": 10})


def test_a_damaged_checkpoint_and_a_foreign_folder_are_refused(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    whole = (undisturbed / CHECKPOINT_NAME).read_bytes()
    (folder / "run.json").write_bytes((undisturbed / "run.json").read_bytes())
    (folder / CHECKPOINT_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        train(folder, _STEPS)
    (folder / "run.json").unlink()
    with pytest.raises(InputError, match=r"without its run\.json"):
        train(folder, _STEPS)


def test_checkpoints_hold_no_code(undisturbed: Path) -> None:
    """torch's restricted reader, which knows tensors and plain values only, reads them; no part file is left."""
    checkpoint = torch.load(undisturbed / CHECKPOINT_NAME, weights_only=True)
    assert checkpoint["global_step"] == _STEPS
    assert sorted(path.name for path in undisturbed.iterdir()) == [CHECKPOINT_NAME, "log.csv", "run.json"]
