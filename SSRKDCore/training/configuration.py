"""Configuration files of the training command: a preset, and what differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json
from SSRKDCore.training.presets import STAGES, run_preset, training_preset
from SSRKDCore.training.settings import RunSettings, StageTraining

DEFAULT_PRESET = "compact"
_SECTIONS = ("preset", *STAGES, "run", "samples")


@dataclass(frozen=True)
class Configuration:
    """What a training command is to do.

    Attributes:
        preset: where the settings come from. training: of the stage. run: on what and how.
        samples: changes of the sample settings, see `make_samples.SampleSettings`.
    """

    preset: str
    training: StageTraining
    run: RunSettings
    samples: Mapping[str, Any]


def configuration(
    stage: str,
    file: Path | None = None,
    preset: str | None = None,
    assignments: Sequence[str] = (),
    run_changes: Mapping[str, Any] | None = None,
) -> Configuration:
    """The configuration of a stage.

    Args:
        stage: "segmenter", "ct" or "xray".
        file: JSON: {"preset": ..., "segmenter": {...}, "ct": {...}, "xray": {...}, "run": {...}, "samples": {...}}, all
            optional; each section changes the preset.
        preset: wins over that of the file.
        assignments: "name=value" each, changes of the stage's settings that win over the file's; a value is JSON, or a
            word. "run.name=value" changes how it runs.
        run_changes: further changes of the run settings, the last to win.

    Raises:
        InputError: a name, section or value is not known.
    """
    values = read_json(file, "a training configuration") if file is not None else {}
    unknown = [str(name)[:60] for name in values if name not in _SECTIONS]
    if unknown:
        raise InputError(f"{file} has the unknown {', '.join(unknown)}: use {', '.join(_SECTIONS)}.")
    name = preset or values.get("preset", DEFAULT_PRESET)
    training, run = training_preset(stage, str(name)), run_preset(str(name))
    training = training.changed(values.get(stage, {}))
    run = run.changed(values.get("run", {}))
    of_stage, of_run = assigned_settings(assignments)
    samples = values.get("samples", {})
    if not isinstance(samples, Mapping):
        raise InputError(f"samples in {file} must be an object with named values: correct it.")
    return Configuration(str(name), training.changed(of_stage), run.changed({**of_run, **(run_changes or {})}), samples)


def assigned_settings(assignments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Changes of a stage's settings, and of the run's, by name, from "name=value" and "run.name=value" each; a value is JSON, or a word.

    Raises InputError for what has no such form.
    """
    of_stage: dict[str, Any] = {}
    of_run: dict[str, Any] = {}
    for words in assignments:
        name, sign, value = words.partition("=")
        if not sign or not name:
            raise InputError(f"--set {words!r} is not of the form name=value: correct it.")
        target, key = (of_run, name.removeprefix("run.")) if name.startswith("run.") else (of_stage, name)
        target[key] = _value(value)
    return of_stage, of_run


def assigned_values(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings by name from "name=value" each, where nothing but one stage's settings can be changed."""
    of_stage, of_run = assigned_settings(assignments)
    if of_run:
        raise InputError("--set changes what is learnt here; how it runs has options of its own: leave run. out.")
    return of_stage


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
