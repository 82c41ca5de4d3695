"""The volume CNN on cases, to a model folder: `python -m SSRKDCore.evaluation.baselines.train_volume_cnn`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json
from SSRKDCore.training.program import exit_code_of

_SECTIONS = ("preset", "volume_cnn", "run", "samples")


def train(arguments: argparse.Namespace) -> Path:
    """Train, or go on; returns the model folder. Raises InputError for settings or cases that cannot be used."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.console import progress_bar
    from SSRKDCore.evaluation.baselines.volume_cnn_training import train_volume_cnn
    from SSRKDCore.evaluation.baselines.volume_settings import volume_preset
    from SSRKDCore.training.configuration import assigned_settings
    from SSRKDCore.training.make_samples import prepare_samples
    from SSRKDCore.training.presets import run_preset
    from SSRKDCore.training.sample_settings import SampleSettings
    from SSRKDCore.training.sample_store import SampleStore
    from SSRKDCore.training.stage_job import StageJob, split_cases

    values = _values(arguments.config)
    preset = arguments.preset or str(values.get("preset", "compact"))
    of_network, of_run = assigned_settings(arguments.set)
    settings = volume_preset(preset).changed(values.get("volume_cnn", {})).changed(of_network)
    run = run_preset(preset).changed(values.get("run", {})).changed(of_run)
    folder = arguments.samples or arguments.out / "samples"
    if arguments.cases is None:
        store = SampleStore(folder)
    else:
        with progress_bar("samples") as progress:
            wanted = SampleSettings().changed(values.get("samples", {}))
            store = prepare_samples(find_cases(arguments.cases), folder, wanted, arguments.workers, progress)
    training, held_out = split_cases(store, run.held_out)
    return train_volume_cnn(
        StageJob(store, training, held_out, settings, run, arguments.out, arguments.name, arguments.licence)
    )


def _values(path: Path | None) -> Mapping[str, Any]:
    values = read_json(path, "a training configuration") if path is not None else {}
    unknown = [str(name)[:60] for name in values if name not in _SECTIONS]
    if unknown:
        raise InputError(f"{path} has the unknown {', '.join(unknown)}: use {', '.join(_SECTIONS)}.")
    return values


def main(words: Sequence[str] | None = None) -> int:
    """Train the volume CNN (Kasten et al. 2020); the same command goes on where it was stopped. The model is OUT/model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=Path, metavar="DIR", help="folder of cases; left out, --samples must be there")
    parser.add_argument(
        "--samples", type=Path, metavar="DIR", help="folder of their samples, made if needed (OUT/samples)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"JSON with any of {', '.join(_SECTIONS)}")
    parser.add_argument("--preset", choices=("compact", "paper"), help="wins over that of --config (compact)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting, or run.NAME of the run"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that make samples; 0 takes all cores"
    )
    parser.add_argument("--name", default="volume CNN", help="what people call the model")
    parser.add_argument("--licence", default="see the licences of the cases that it was trained on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    arguments = parser.parse_args(words)
    return exit_code_of("train_volume_cnn", lambda: print(f"Written to {train(arguments)}."))


if __name__ == "__main__":
    sys.exit(main())
