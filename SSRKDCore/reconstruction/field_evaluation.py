"""What a coarse-to-fine search asks of an occupancy field, and what it keeps of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.errors import Cancelled
from SSRKDCore.reconstruction.grid_level import GridLevel

#: Points per call of the field, between which progress is told and cancellation is asked: on a CPU and on a GPU.
BLOCK_POINTS = 65536
ACCELERATOR_BLOCK_POINTS = 1 << 19

#: Logits (N, classes) float32 at the grid samples with indices z, y, x, each (N,) int64, all on one device.
LogitField = Callable[[Tensor, Tensor, Tensor], Tensor]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class SparseOccupancy:
    """Labels everywhere, logits where they matter.

    Attributes
    ----------
    labels: (nz, ny, nx) uint8, the class of largest logit at every sample.
    slots: (nz, ny, nx) int32, 1 + the row of `logits` of a sample, 0 where no logits are kept (see `filled_slots`). Both
        ends of every grid edge whose labels differ have a row.
    logits: (M, classes) float32, evaluated or, in a search with a tolerance, interpolated.
    evaluated: how many samples the field was asked for.
    """

    labels: NDArray[np.uint8]
    slots: NDArray[np.int32]
    logits: NDArray[np.float32]
    evaluated: int

    def rows(self, flat: NDArray[np.int64]) -> NDArray[np.int32]:
        """(N,): the rows of `logits` of the samples at flat positions (N,), -1 where no logits are kept; positions outside the volume are
        clipped to any sample.
        """
        return self.slots.reshape(-1).take(flat, mode="clip") - 1


def filled_slots(shape: tuple[int, ...], flat: NDArray[np.int64]) -> NDArray[np.int32]:
    """The slots of a volume whose logits are those of the samples at flat positions (M,), in this order.

    Few samples have any: the system clears the memory of the others when it is read, and never if it is not.
    """
    slots = np.zeros(shape, dtype=np.int32)
    slots.reshape(-1)[flat] = np.arange(1, len(flat) + 1, dtype=np.int32)
    return slots


class FieldEvaluation:
    """Asks the field block by block, keeps the logits, tells progress and looks for cancellation."""

    def __init__(
        self, field: LogitField, device: torch.device, progress: Progress | None, cancelled: Callable[[], bool] | None
    ) -> None:
        self.field = field
        self.progress = progress
        self.cancelled = cancelled
        self.block_points = BLOCK_POINTS if device.type == "cpu" else ACCELERATOR_BLOCK_POINTS
        self.evaluated = 0
        self._logits: list[Tensor] = []
        self._samples: list[Tensor] = []

    def ask(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Logits (N, classes) at these samples of the finest grid."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("The reconstruction was cancelled.")
        self.evaluated += len(z)
        return self.field(z, y, x)

    def evaluate(self, level: GridLevel, flat: Tensor, share: tuple[float, float], words: str) -> Tensor:
        """Evaluate the samples of a level with these flat positions (N,): set their labels, keep their logits, and
        give these (N, classes). `share` is the part of the progress.
        """
        labels, known = level.labels.view(-1), level.known.view(-1)
        first = len(self._logits)
        count = max(len(flat), 1)  # of no samples the field still tells how many classes there are
        for start in range(0, count, self.block_points):
            part = flat[start : start + self.block_points]
            self.tell(share[0] + (share[1] - share[0]) * start / count, words)
            z, y, x = level.in_finest(part)
            logits = self.ask(z, y, x)
            self._logits.append(logits)
            self._samples.append((z * level.resolution + y) * level.resolution + x)
            labels[part] = logits.argmax(dim=1).to(torch.uint8)
            known.index_fill_(0, part, True)
        return torch.cat(self._logits[first:])

    def keep(self, level: GridLevel, flat: Tensor, logits: Tensor) -> None:
        """Keep logits (N, classes) of samples of a level (flat positions, labelled by them) that were not asked for."""
        z, y, x = level.in_finest(flat)
        self._samples.append((z * level.resolution + y) * level.resolution + x)
        self._logits.append(logits)
        level.known.view(-1).index_fill_(0, flat, True)

    def kept(self) -> tuple[Tensor, Tensor]:
        """Flat positions (M,) in the finest grid of all kept samples so far, and their logits (M, classes)."""
        self._samples, self._logits = [torch.cat(self._samples)], [torch.cat(self._logits)]
        return self._samples[0], self._logits[0]

    def tell(self, fraction: float, words: str) -> None:
        if self.progress is not None:
            self.progress(min(fraction, 1.0), words)

    def result(self, finest: GridLevel) -> SparseOccupancy:
        """What was found, on the host."""
        samples, logits = self.kept()
        # Filled here: bringing over the positions is less than bringing over a slot for every sample.
        slots = filled_slots(tuple(finest.labels.shape), samples.cpu().numpy())
        return SparseOccupancy(finest.labels.cpu().numpy(), slots, logits.cpu().numpy(), self.evaluated)
