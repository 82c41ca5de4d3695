"""`ssrkd train`: cases in, three stages one after another, a student out that reads a bone-enhanced image."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from tiny_training import use_tiny_networks, write_cases

from SSRKDCore import cli
from SSRKDCore.commands import train as command
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.training import xray_training
from SSRKDCore.training.sample_store import SampleStore


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch)


def run(*arguments: str | Path) -> dict:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_a_file_where_a_folder_shall_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, file = write_cases(tmp_path / "cases", 2, 0), tmp_path / "file"
    file.touch()
    common = ["train", "segmenter", "--cases", str(cases), "--workers", "1"]
    for place in (["--out", str(file)], ["--samples", str(file), "--out", str(tmp_path / "run")]):
        assert cli.main([*common, *place]) == 2
        assert str(file) in capsys.readouterr().err.splitlines()[-1]


def test_three_stages_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, samples, config = write_cases(tmp_path / "cases", 3, 1), tmp_path / "samples", tmp_path / "config.json"
    short = {"steps": 3, "warm_up_steps": 1}
    write_json(
        config,
        {
            "preset": "compact",
            "segmenter": {**short, "labelled_batch": 1, "unlabelled_batch": 1},
            "ct": {**short, "points": 100, "voxel_mm": 6.0, "crop_limit": 16},
            "xray": {**short, "points": 100, "distillation_points": 50},
            "run": {"held_out": 1, "progress": False, "validation_steps": 0, "precision": "32"},
            "samples": {"image_size": 64, "rigs": 1, "rays": 1, "points": {"near": 100, "uniform": 100}},
        },
    )
    common = ("--cases", cases, "--samples", samples, "--config", config, "--workers", "1")
    models = {}
    for stage in ("segmenter", "ct"):
        models[stage] = run(stage, *common, "--out", tmp_path / stage)["model"]
        assert load_model(models[stage]).kind == stage
    helpers = ("--teacher", models["ct"], "--segmenter", models["segmenter"], "--out", tmp_path / "xray")
    student = load_model(run("xray", *common, *helpers)["model"])
    assert student.config.input_channels == 2 and student.segmenter is not None
    store = SampleStore(samples)
    assert student.card["training"]["data"]["teachers"] == 1
    # The held-out case is no part of training, so the teacher need not speak of it.
    assert [store.teacher_name(case) is not None for case in range(4)].count(True) == 3
    assert student.card["training"]["validation"]["held_out_wrong_near"] > 0

    def stopped(job: object) -> Path:
        raise Cancelled("Stopped after step 2 of 3: the same command goes on from there.")

    monkeypatch.setattr(xray_training, "train_xray", stopped)
    result = run("xray", *common, *helpers)
    assert result["exit_code"] == 130 and result["stopped"].startswith("Stopped after step 2 of 3")
    with pytest.raises(InputError, match="is a model of kind segmenter, not ct"):
        run("xray", *common, "--teacher", models["segmenter"], "--out", tmp_path / "other")
    with pytest.raises(InputError, match="4 of them were to be held out"):
        run("xray", *common, "--set", "run.held_out=4", "--out", tmp_path / "other")
