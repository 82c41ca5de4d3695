"""Runs a training stage with Lightning: resumable at any moment, on one process or many."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from SSRKDCore.console import progress_bar
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.training.checkpoints import (
    CHECKPOINT_NAME,
    RUN_SCHEMA,
    Checkpoints,
    claim_run_folder,
    read_checkpoint,
    signals_as_before,
)
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_module import StageModule
from SSRKDCore.training.step_dataset import StepDataset, StepLoader, entropy
from SSRKDCore.training.step_log import Progress, StepLog
from SSRKDCore.training.weight_average import WeightAverage

#: Measures of a stage with the averaged weights, by name; they get columns in log.csv.
Validation = Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True)
class StageResult:
    """A finished run.

    Attributes:
        module: the stage, with the averaged weights, in eval mode, on the CPU.
        steps: optimiser steps. seconds: spent in training, resumed runs included.
        budget: what was spent on what, for the model's `training` record.
        validation: the last measures of `validation`.
        first: whether this is the first of the processes, the one that writes results.
    """

    module: Any
    steps: int
    seconds: float
    budget: dict[str, Any]
    validation: dict[str, float]
    first: bool = True


class PeriodicValidation(Callback):
    """Calls `measure` with the averaged weights every so many steps and at the end; measures go to the log.

    With several processes the first measures and the others wait.
    """

    def __init__(self, measure: Validation, every: int, average: WeightAverage, log: StepLog) -> None:
        self.measure = measure
        self.every = every
        self.average = average
        self.step_log = log
        self.last: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        step = trainer.global_step
        if (step % self.every if self.every else True) and step < trainer.max_steps:
            return
        if not trainer.is_global_zero:
            return
        with self.average.applied(module), torch.inference_mode():
            module.eval()
            self.last = {name: float(value) for name, value in self.measure(module).items()}
            module.train()
        if self.last:
            self.step_log.write(trainer, self.last)

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last = dict(state["last"])


class _SeededSteps(Callback):
    """Torch's own randomness follows from the step, should a network draw from it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        torch.manual_seed(entropy(self.seed, trainer.global_step, trainer.global_rank))


def run_stage(
    module: StageModule,
    batches: StepDataset,
    run: RunSettings,
    out: Path,
    validation: Validation | None = None,
    callbacks: Sequence[Callback] = (),
) -> StageResult:
    """Train a stage to its end, or go on with it where `out` has a checkpoint.

    `out` holds run.json (what the run is), last.ckpt, log.csv and, if wished, tensorboard/. A run that was killed at any
    moment goes on from its last checkpoint and gives the same weights, bit for bit on the same computer, number of
    threads and processes, as one that was not.

    Args:
        module: the stage, fresh. batches: as many as `module.steps`.
        run: on what and how. out: the run's folder, made if it is not there.
        validation: called now and then with the module, in eval mode with the averaged weights, without gradients.
        callbacks: further Lightning callbacks; they see a step before its checkpoint is written.

    Raises:
        InputError: `out` holds another run, or the loss stopped being finite.
        Cancelled: a signal asked to stop; the checkpoint is written and the same call goes on from it.
    """
    if len(batches) != module.steps:
        raise ValueError(f"there must be a batch for each of {module.steps} steps, not {len(batches)}")
    claim_run_folder(out, _identity(module, batches, run), getattr(rank_zero_only, "rank", 0) == 0)
    checkpoint = out / CHECKPOINT_NAME
    done = int(read_checkpoint(checkpoint)["global_step"]) if checkpoint.is_file() else 0
    show = progress_bar(module.stage) if run.progress else nullcontext(None)
    with _quiet(), _threads(run.threads), signals_as_before(), show as progress:
        return _train(module, batches, run, out, validation, callbacks, done, progress)


def _train(
    module: StageModule,
    batches: StepDataset,
    run: RunSettings,
    out: Path,
    validation: Validation | None,
    callbacks: Sequence[Callback],
    done: int,
    progress: Progress | None,
) -> StageResult:
    average = WeightAverage(module.settings.weight_average)
    log = StepLog(out / "log.csv", run.log_steps, progress)
    checkpoints = Checkpoints(out, run.checkpoint_steps, run.checkpoint_minutes)
    measured = PeriodicValidation(validation or (lambda _: {}), run.validation_steps, average, log)
    stages = [_SeededSteps(batches.seed), average, log, measured, *callbacks, checkpoints]
    trainer = Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.nodes,
        strategy="ddp" if run.processes > 1 else "auto",
        precision=run.precision,  # type: ignore[arg-type]  # one of the strings it takes
        max_steps=module.steps,
        max_epochs=-1,
        gradient_clip_val=module.settings.gradient_clip or None,
        callbacks=stages,
        logger=_tensorboard(out, done) if run.tensorboard else False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=out,
    )
    batches.rank, batches.processes = trainer.global_rank, trainer.world_size
    pin = trainer.strategy.root_device.type == "cuda"
    loader = StepLoader(batches, lambda: trainer.global_step, run.loader_workers, pin)
    module.train()
    trainer.fit(module, loader, ckpt_path=out / CHECKPOINT_NAME if done else None, weights_only=True)
    if checkpoints.asked_to_stop and trainer.global_step < module.steps:
        raise Cancelled(
            f"Stopped after step {trainer.global_step} of {module.steps}: the same command goes on from there."
        )
    device = str(trainer.strategy.root_device)
    with average.applied(module):
        weights = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
    module.cpu().load_state_dict(weights)
    module.eval()
    budget = {
        "steps": trainer.global_step,
        "seconds": round(log.seconds, 1),
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or device,
        "precision": run.precision,
    }
    return StageResult(module, trainer.global_step, log.seconds, budget, measured.last, trainer.is_global_zero)


def _identity(module: StageModule, batches: StepDataset, run: RunSettings) -> dict[str, Any]:
    """What makes a run what it is; where it runs and how often it writes is no part of it."""
    models = module.models_in_use()
    return {
        "schema": RUN_SCHEMA,
        "stage": module.stage,
        "steps": module.steps,
        "settings": module.settings.to_dict(),
        "precision": run.precision,
        "processes": run.processes,
        "data": batches.fingerprint(),
        **({"models": models} if models else {}),
    }


def _tensorboard(out: Path, step: int) -> Logger:
    if find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed: run `pip install tensorboard`, or leave tensorboard out.")
    return TensorBoardLogger(out, name="tensorboard", version="", purge_step=step or None)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice: on the device, on more loader processes, on checkpoints in the middle of an epoch."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")
            warnings.filterwarnings("ignore", message="(?s).*[Gg]rad strides do not match.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
