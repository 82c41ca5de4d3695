"""The README's demo, with the bundled model and sample: four recognisable bones on the right side, as files others read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh

from SSRKDCore.anatomy import BONES
from SSRKDCore.cases import load_case
from SSRKDCore.evaluation.case_evaluation import reference_surfaces


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("demo") / "Ergebnis ä 1"
    command = [sys.executable, "-m", "SSRKDCore", "demo", "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_the_promised_files_and_nothing_else(demo: tuple[Path, dict]) -> None:
    names = {path.name for path in demo[0].iterdir()}
    # Since results are assessed, each bone comes with the uncertainty of its vertices.
    of_bones = {f"{bone.name}{ending}" for bone in BONES for ending in (".stl", "_uncertainty.vtp")}
    assert names == of_bones | {"bones.seg.nrrd", "report.json", "preview.png"}


def test_bones_are_near_the_truth(demo: tuple[Path, dict]) -> None:
    # The bundled model is a first one: these bounds say "recognisable, in place, right size", not "accurate".
    for name, row in demo[1]["comparison"].items():
        assert row["failure"] is None, name
        assert row["exact_assd_mm"] < 3.0, (name, row)
        assert row["dice"] > 0.7, (name, row)


def test_surfaces_are_closed_and_in_lps_millimetres(demo: tuple[Path, dict], repository: Path) -> None:
    case = load_case(repository / "Resources" / "SampleCase")
    truth = reference_surfaces(case)
    low, high = case.rig.field_of_view.bounds
    centres = {}
    for bone in BONES:
        mesh = trimesh.load(demo[0] / f"{bone.name}.stl")
        assert mesh.is_watertight and mesh.volume > 1000.0
        assert (mesh.bounds[0] >= low - 0.01).all() and (mesh.bounds[1] <= high + 0.01).all()
        centres[bone.name] = mesh.centroid
        assert np.linalg.norm(mesh.centroid - truth[bone.name].centroid) < 12.0
    # A left knee: the fibula is further to the patient's left (+x) than the tibia; the patella is in front (-y).
    assert case.side == "left" and centres["fibula"][0] > centres["tibia"][0] + 10
    assert centres["patella"][1] < centres["femur"][1] - 20 and centres["femur"][2] > centres["tibia"][2] + 30


def test_segmentation_and_surfaces_agree(demo: tuple[Path, dict]) -> None:
    image = sitk.ReadImage(str(demo[0] / "bones.seg.nrrd"))
    labels = sitk.GetArrayFromImage(image)
    voxel = float(np.prod(image.GetSpacing()))
    for bone in BONES:
        mesh = trimesh.load(demo[0] / f"{bone.name}.stl")
        assert (labels == bone.label).sum() * voxel == pytest.approx(mesh.volume, rel=0.03)


def test_the_report_says_what_was_used_and_its_limits(demo: tuple[Path, dict]) -> None:
    report = json.loads((demo[0] / "report.json").read_text())
    assert report["schema"] == "ssrkd-report/1"
    assert "not a medical device" in json.dumps(report)
    assert report["model"]["name"] == "compact"


def test_the_readme_s_python_runs_as_it_stands(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (repository / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert "reconstruct(" in code
    # The README's file names are those of the sample. Fewer samples than it asks for, in order to be quick.
    monkeypatch.chdir(repository / "Resources" / "SampleCase")
    names: dict = {}
    exec(code.replace("load_model())", "load_model(), resolution=64)"), names)
    assert names["femur"].is_closed() and names["femur"].volume > 10_000
    assert names["result"].side == "left"
