"""How a surface correction is trained and looked at; `fit_surface_correction` is the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.networks.surface_corrector import SurfaceCorrector
from SSRKDCore.refinement.anchor_features import FEATURES
from SSRKDCore.training.correction_examples import Examples

Progress = Callable[[float, str], None]

# An error beyond this (mm) teaches no more than one of this size: the fit has gone elsewhere.
_WIDEST_MM = 4.0
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class CorrectionTraining:
    """How it is trained: steps of `batch` anchors for each bone, the largest learning rate of one cycle, and the seed of all randomness."""

    steps: int = 800
    batch: int = 4096
    rate: float = 4e-3
    weight_decay: float = 0.1
    seed: int = 0


def train(
    examples: Mapping[str, Examples],
    training: CorrectionTraining,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SurfaceCorrector:
    """A trained network for the bones of the examples: the mean size of what it leaves of errors is made small.

    Raises InputError for a bone without examples; Cancelled.
    """
    torch.manual_seed(training.seed)
    network = SurfaceCorrector({name: given.errors_mm.shape[1] for name, given in examples.items()}, FEATURES)
    for place, (name, given) in enumerate(examples.items()):
        exposure, anchor = np.nonzero(np.isfinite(given.errors_mm))
        if not len(exposure):
            raise InputError(f"No case shows a {name} to learn from: give labelled cases that the model can refine.")
        _standardise(network, name, given.described[exposure, anchor])
        corrector = network.bones[name]
        optimiser = torch.optim.AdamW(corrector.parameters(), training.rate, weight_decay=training.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.rate, total_steps=training.steps)
        corrector.train()
        generator = np.random.default_rng([training.seed, place])
        for step in range(training.steps):
            if cancelled is not None and cancelled():
                raise Cancelled("Training was cancelled.")
            chosen = generator.integers(len(exposure), size=training.batch)
            rows, columns = exposure[chosen], anchor[chosen]
            described = torch.from_numpy(given.described[rows, columns].astype(np.float32))
            wanted = torch.from_numpy(given.errors_mm[rows, columns]).clamp(-_WIDEST_MM, _WIDEST_MM)
            loss = (corrector(described, torch.from_numpy(columns)) - wanted).abs().mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if progress is not None and step % 20 == 0:
                progress((place + step / training.steps) / len(examples), f"{name}, {loss.item():.2f} mm left")
    return network.eval().requires_grad_(False)


def _standardise(network: SurfaceCorrector, name: str, described: NDArray[np.float16]) -> None:
    values = described.astype(np.float32)
    corrector = network.bones[name]
    usual, spread = values.mean(axis=0), values.std(axis=0)
    corrector.register_buffer("usual", torch.from_numpy(usual))
    corrector.register_buffer("spread", torch.from_numpy(np.maximum(spread, _LEAST_SPREAD)))


def left_errors(network: SurfaceCorrector, examples: Mapping[str, Examples]) -> dict[str, Any]:
    """Mean size of errors (mm) at anchors before and after the correction, over exposures: by bone, then by look and of "all"."""
    found: dict[str, Any] = {}
    for name, given in examples.items():
        anchors = torch.arange(given.errors_mm.shape[1])
        with torch.inference_mode():
            expected = [
                network(name, torch.from_numpy(described.astype(np.float32)), anchors).numpy()
                for described in given.described
            ]
        before = np.abs(given.errors_mm)
        after = np.abs(given.errors_mm - np.array(expected).reshape(before.shape))
        groups = {look: given.looks == look for look in sorted(set(given.looks))}
        groups["all"] = np.ones(len(given.looks), dtype=bool)
        found[name] = {
            str(look): {
                "exposures": int(rows.sum()),
                "before_mm": round(float(np.nanmean(before[rows])), 4),
                "after_mm": round(float(np.nanmean(after[rows])), 4),
            }
            for look, rows in groups.items()
            if np.isfinite(before[rows]).any()
        }
    return found
