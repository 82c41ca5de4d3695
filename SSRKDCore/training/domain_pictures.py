"""A picture of every effect of the augmentation "physics", each alone: `python -m SSRKDCore.training.domain_pictures`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SSRKDCore.training.augmentation import standardise_batch
from SSRKDCore.training.changed_images import known_bone
from SSRKDCore.training.domain_randomisation import DomainRandomisation, randomise_domain
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.training.sample_store import SampleStore

_LOW, _HIGH, _LIMIT = 5.0, 95.0, 4.0


def quiet_room() -> DomainRandomisation:
    """An exposure in which nothing happens but a spectrum of 70 kV."""
    shares: dict[str, Any] = {item.name: 0.0 for item in fields(DomainRandomisation) if item.name.endswith("_share")}
    display = replace(DomainRandomisation().display, curve_share=0.0, contrast_share=0.0)
    return replace(
        DomainRandomisation(), **shares, kilovolts=(70.0, 70.0), scatter_per_cm=(0.0, 0.0), half_per_mm=(50.0, 50.0),
        photons=(1e9, 1e9), electronic=(0.0, 0.0), display=display,
    )  # fmt: skip


def effects() -> dict[str, Mapping[str, Any]]:
    """Words -> what is changed of `quiet_room`, towards the far end of the ranges."""
    display = quiet_room().display
    return {
        "70 kV, nothing else": {},
        "52 kV": {"kilovolts": (52.0, 52.0)},
        "85 kV, 0.3 mm copper": {"kilovolts": (85.0, 85.0), "copper_share": 1.0, "copper_mm": (0.3, 0.3)},
        "scatter, no grid": {"scatter_per_cm": (0.12, 0.12)},
        "scatter, grid": {"scatter_per_cm": (0.12, 0.12), "grid_share": 1.0, "cut_off": (0.0, 0.0)},
        "grid lines, cut-off": {
            "grid_share": 1.0, "still_grid_share": 1.0, "line_amplitude": (0.06, 0.06), "cut_off": (0.25, 0.25),
        },
        "soft detector, focal spot": {"half_per_mm": (0.4, 0.4), "focal_spot_mm": (1.5, 1.5), "magnification": (1.5, 1.5)},
        "veiling glare": {"glare_share": 1.0, "glare": (0.15, 0.15)},
        "few photons": {"photons": (5e3, 5e3), "electronic": (20.0, 20.0), "half_per_mm": (1.0, 1.0)},
        "lead letters": {"letter_share": 1.0},
        "cables and pins": {"wire_share": 1.0},
        "cast": {"cast_share": 1.0},
        "table": {"table_share": 1.0, "rail_mm": (4.0, 6.0)},
        "other leg": {"other_leg_share": 1.0, "other_leg_shift": (0.6, 0.65)},
        "collimator, masked": {"collimation_share": 1.0, "collimation": (0.05, 0.15), "unseen_blades": 0.0},
        "collimator, not noticed": {"collimation_share": 1.0, "collimation": (0.05, 0.15), "unseen_blades": 1.0},
        "display curve": {"display": replace(display, curve_share=1.0, gamma=(1.6, 1.6))},
        "all at random": {item.name: getattr(DomainRandomisation(), item.name) for item in fields(DomainRandomisation)},
    }  # fmt: skip


def draw(samples: Path, out: Path, case: int, seed: int) -> None:
    """One picture of all effects on a case of a sample store."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sample = SampleStore(samples).read(case, 0, teacher=False)
    image = torch.from_numpy(sample.images[:1].astype(np.float32))
    masks = known_bone(sample, slice(1))
    pixel_mm = float(sample.cube[3]) / image.shape[-1]
    figure = Figure(figsize=(12, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 6).ravel()
    for panel, (words, changes) in zip(panels, effects().items(), strict=True):
        settings = replace(quiet_room(), **changes)
        changed, coverage = randomise_domain(image, torch.Generator().manual_seed(seed), pixel_mm, masks, settings)
        shown = standardise_batch(changed, coverage, _LOW, _HIGH, _LIMIT)[0]
        low, high = np.percentile(shown.numpy(), (1, 99.5))
        panel.imshow(shown.numpy(), cmap="gray", vmin=low, vmax=high)
        panel.set_title(words, fontsize=9)
        panel.set_axis_off()
    figure.savefig(out, dpi=90)


def main() -> int:
    """Draw every effect of the augmentation "physics" on one knee."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="folder of training samples")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    parser.add_argument("--case", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return exit_code_of("pictures", lambda: draw(arguments.samples, arguments.out, arguments.case, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
