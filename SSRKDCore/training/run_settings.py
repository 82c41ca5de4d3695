"""On what and how a training stage runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from SSRKDCore.training.settings_form import Settings

PRECISIONS = ("32", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "gpu", "mps")


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """On what and how a stage runs; all that changes what is learnt is `precision`, `held_out` and the number of processes.

    Attributes:
        accelerator: "auto", "cpu", "gpu" or "mps".
        devices: processes on this computer (GPUs, or CPU processes).
        nodes: computers; start each by `torchrun`, or by the scheduler of the cluster.
        precision: "32", "bf16-mixed" or "16-mixed".
        threads: of torch in each process; 0 leaves torch's own choice. One is fastest on a busy computer.
        loader_workers: processes that prepare batches ahead; 0 prepares them in the training process.
        checkpoint_steps: steps between checkpoints; 0 goes by minutes alone.
        checkpoint_minutes: minutes between checkpoints; 0 goes by steps alone.
        log_steps: steps of which a line of log.csv is the mean.
        held_out: labelled cases that training leaves out, for validation and pictures (the last ones of the samples, and with them all
            cases of the same persons).
        validation_steps: steps between validations and pictures; 0 for one at the end alone.
        tensorboard: write TensorBoard's event files too.
        progress: show a progress bar.
    """

    title: ClassVar[str] = "run settings"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "32"
    threads: int = 0
    loader_workers: int = 0
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 3.0
    log_steps: int = 20
    held_out: int = 4
    validation_steps: int = 1000
    tensorboard: bool = False
    progress: bool = True

    def _check(self) -> None:
        self._one_of("accelerator", ACCELERATORS)
        self._one_of("precision", PRECISIONS)
        self._require(self.devices >= 1 and self.nodes >= 1, "devices and nodes must be 1 or more")
        for name in (
            "threads",
            "loader_workers",
            "checkpoint_steps",
            "checkpoint_minutes",
            "validation_steps",
            "held_out",
        ):
            self._require(getattr(self, name) >= 0, f"{name} must be 0 or more")
        self._require(self.log_steps >= 1, "log_steps must be 1 or more")
        self._require(self.precision != "16-mixed" or self.accelerator != "cpu", "16-mixed needs a GPU: use bf16-mixed")

    @property
    def processes(self) -> int:
        """Processes that share a step."""
        return self.devices * self.nodes
