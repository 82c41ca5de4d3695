"""`ssrkd experiment`: names, refusals, and a whole small run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from experiment_cases import grown_by, write_ball_case

from SSRKDCore.cases import Case
from SSRKDCore.cli import main
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation import methods
from SSRKDCore.evaluation.experiments.registry import EXPERIMENTS
from SSRKDCore.evaluation.methods import Method, load_method, parsed_method
from SSRKDCore.networks.model_folder import load_model


def test_list_names_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["experiment", "--list"], ["experiment", "list"]):
        assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(EXPERIMENTS)


def test_a_table_of_two_methods_and_its_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Methods whose answers are the reference, larger by 1 mm and by 1.5 mm."""
    cases = tmp_path / "cases"
    for name, subject in (("a", "x"), ("b", "y")):
        write_ball_case(cases / name, subject)
    calls: list[str] = []

    def counted(amount: float) -> Method:
        def amount_of(case: Case) -> float:
            calls.append(case.id)
            return amount

        return Method("model", grown_by(amount_of), {"amount": amount})

    monkeypatch.setattr(methods, "load_method", lambda kind, path, *rest: counted(float(path)))
    words = ["experiment", "table", "--cases", str(cases), "--method", "first:model=1", "--method", "second:model=1.5"]
    out = tmp_path / "out"
    assert main([*words, "--out", str(out)]) == 0
    assert sorted(calls) == ["a", "a", "b", "b"]
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = {row["point"]: row for row in csv.DictReader(file) if row["bone"] == "patella"}
    assert float(rows["first"]["exact_assd_mm_mean"]) == pytest.approx(1.0, abs=0.02)
    assert float(rows["second"]["exact_assd_mm_mean"]) == pytest.approx(1.5, abs=0.02)
    with (out / "differences.csv").open(encoding="utf-8") as file:
        found = next(row for row in csv.DictReader(file) if (row["bone"], row["measure"]) == ("all", "exact_assd_mm"))
    assert float(found["mean_difference"]) == pytest.approx(0.5, abs=0.02) and found["pairs"] == "2"
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["command"].startswith("ssrkd experiment table") and "--method first:model=1" in report["command"]
    # The same command has nothing left to do; another seed is another run.
    assert main([*words, "--out", str(out)]) == 0 and len(calls) == 4
    capsys.readouterr()
    assert main([*words, "--out", str(out), "--seed", "1"]) == 2
    assert "seed" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense", "--out", "o"],
        ["separation"],
        ["separation", "--out", "o", "--limit", "0"],
        ["separation", "--out", "o", "--seed", "-1"],
        ["separation", "--out", "o", "--resolution", "7"],
        ["separation", "--out", "o", "--method", "ssm=a", "--method", "ssm=b"],
        ["separation", "--out", "o", "--steps", "5"],
        ["parts", "--out", "o"],
        ["views", "--out", "o", "--config", "recipe.json", "--steps", "5"],
        ["views", "--out", "o", "--config", "recipe.json", "--work", "w", "--steps", "5", "--model", "m"],
        ["views", "--out", "o", "--config", "recipe.json", "--work", "w", "--steps", "5"],
        ["two-sites", "--out", "o", "--model", "m"],
        ["two-sites", "--out", "o", "--config", "recipe.json", "--work", "w", "--model", "m", "--steps", "5"],
        ["two-sites", "--out", "o", "--config", "recipe.json", "--work", "w", "--method", "network=m"],
    ],
)
def test_bad_input_ends_with_2(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ssrkd: ") and error.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_methods_by_name(tmp_path: Path) -> None:
    assert parsed_method("ssm=a=b.npz") == ("ssm", "ssm", "a=b.npz")
    assert parsed_method("without distillation:model=m") == ("without distillation", "model", "m")
    assert parsed_method("model") == ("model", "model", None)
    for words in ("", "=x", ":model=x", "model="):
        with pytest.raises(InputError, match="not understood"):
            parsed_method(words)
    for kind, path in (("nonsense", "x"), ("ssm", None), ("ssm", str(tmp_path / "gone.npz")), ("ssim", "only-one.npz")):
        with pytest.raises(InputError):
            load_method(kind, path, 64)


def test_a_models_settings_are_part_of_what_results_belong_to(tmp_path: Path) -> None:
    """The same weights that are shown images otherwise are another method."""
    folder = tmp_path / "model"
    shutil.copytree(load_model().path, folder)
    found = []
    for scale in (1.0, 1.0, 2.0):
        value = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        value["input"]["intensity_scale"] = scale
        (folder / "model.json").write_text(json.dumps(value), encoding="utf-8")
        found.append([load_method(kind, str(folder), 64).settings for kind in ("model", "network")])
    assert found[0] == found[1]
    assert all(one != other for one, other in zip(found[0], found[2], strict=True))
