"""Fill a folder with simulated training samples: `python -m SSRKDCore.training.make_samples`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.population.anatomies import Anatomy, completed_femora, completed_shape_model, read_legs
from SSRKDCore.population.knee_sampler import distance_fields
from SSRKDCore.training.simulated_cases import save_samples, simulate


def base_anatomies(data: Path, settings: dict) -> list[Anatomy]:
    """The base anatomies that the settings name, real legs first, without the excluded subjects."""
    legs = read_legs(data, settings["excluded_subjects"])
    seed = int(settings["seed"])
    femora = list(completed_femora(data, legs, seed))
    modelled = list(completed_shape_model(data, legs, int(settings["shape_model_samples"]), seed))
    return legs * int(settings["leg_repeats"]) + femora + modelled


def main() -> None:
    """Make `knees` knees; a knee's samples depend only on the seed and its number, so an interrupted run goes on where it was."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of real anatomy (manifest.json)")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    settings = read_json(arguments.config, "a training configuration")["population"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    anatomies = base_anatomies(arguments.data, settings)
    write_json(
        arguments.out / "anatomies.json",
        {"names": [a.name for a in anatomies], "subjects": sorted({a.subject for a in anatomies})},
    )
    order = np.random.default_rng(settings["seed"]).permutation(len(anatomies))
    started = time.monotonic()
    per_visit = int(settings["knees_per_visit"])
    for first in range(0, int(settings["knees"]), per_visit):
        anatomy = anatomies[order[first // per_visit % len(order)]]
        numbers = range(first, min(first + per_visit, int(settings["knees"])))
        missing = [number for number in numbers if not sample_path(arguments.out, number).is_file()]
        if not missing:
            continue
        fields = distance_fields(anatomy)
        for number in missing:
            generator = np.random.default_rng([int(settings["seed"]), number])
            save_samples(
                sample_path(arguments.out, number), simulate(fields, generator, int(settings["rigs_per_knee"]))
            )
        print(f"{numbers[-1] + 1} knees, {anatomy.name}, {(time.monotonic() - started) / 60:.1f} min", flush=True)


def sample_path(folder: Path, number: int) -> Path:
    """The file of one knee's samples."""
    return folder / f"knee{number:06d}.npz"


if __name__ == "__main__":
    main()
