"""Folders of synthetic cases: what a case holds, that it is the same wherever it is made, and that no kill leaves half of one."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from synthetic_knee import SyntheticKneeModel
from toy_population import EverySecondFails, ToySampler, toy_case, voxels

from SSRKDCore.anatomy import BONE_NAMES, bone, lateral_direction
from SSRKDCore.cases import find_cases, load_case
from SSRKDCore.commands import population
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.population import population_run
from SSRKDCore.population.case_writer import CaseContent
from SSRKDCore.population.population_run import write_population
from SSRKDCore.population.synthetic_case import CaseNumber, PopulationSettings
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.segmentation_files import read_segmentation
from SSRKDCore.surface_files import read_surface

SETTINGS = PopulationSettings(seed=7, rig="paper", radiographs=False)


def toys(out: Path, cases: int, settings: PopulationSettings = SETTINGS, **options: Any) -> Any:
    """A population of toy cases, made in this process unless told otherwise."""
    options = {"workers": 1, "maker": toy_case} | options
    return write_population(ToySampler(), out, cases, settings, **options)


def record(out: Path) -> dict[str, Any]:
    return json.loads((out / "population.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled cases and an unlabelled one, made as real ones are but for their bones: a knee of rounded solids."""
    out = tmp_path_factory.mktemp("knees") / "cases"
    settings = PopulationSettings(seed=3, rig="paper", voxel_mm=2.0)
    report = write_population(SyntheticKneeModel(), out, 3, settings, unlabelled=1, workers=1)
    assert not report.failed
    return out


def test_a_case_holds_its_ct_its_truth_and_its_radiographs(knees: Path) -> None:
    assert [folder.name for folder in find_cases(knees)] == ["case00000", "case00001", "case00002", "unlabelled00000"]
    for folder in find_cases(knees)[:3]:
        case = load_case(folder)
        assert case.id == f"seed3-{folder.name}" and case.provenance["seed"] == 3
        assert isinstance(case.reference, dict) and set(case.reference) == set(BONE_NAMES)
        labels, grid, names = read_segmentation(folder / "reference.seg.nrrd")
        hounsfield, ct_grid, _ = read_ct(folder / "ct.nrrd")
        assert names == list(BONE_NAMES) and ct_grid == grid and hounsfield.shape == labels.shape
        assert SimpleITK.ReadImage(str(case.ct)).GetPixelID() == SimpleITK.sitkInt16
        # Centres of labelled voxels and of the surfaces agree where a bone is whole.
        index = np.argwhere(labels == bone("patella").label)
        surface = read_surface(case.reference["patella"])
        center = (index.mean(axis=0)[::-1] * grid.spacing) + grid.origin
        np.testing.assert_allclose(center, surface.vertices.mean(axis=0), atol=2.5)
        assert surface.is_closed()
        assert hounsfield[labels > 0].mean() > hounsfield[labels == 0].mean() + 300
        fibula, tibia = (read_surface(case.reference[name]).centroid[0] for name in ("fibula", "tibia"))
        assert (fibula - tibia) * lateral_direction(case.side) > 10
        for name, path in case.radiographs.items():
            radiograph = read_radiograph(path)
            assert radiograph.view == name and radiograph.side == case.side
            assert radiograph.pixels.shape == (512, 512) and radiograph.pixels.max() > 2.0


def test_cases_differ_and_streams_of_both_kinds_too(knees: Path) -> None:
    cases = [load_case(folder) for folder in find_cases(knees)]
    assert len({json.dumps(case.provenance["knee"], sort_keys=True) for case in cases}) == 4
    assert len({voxels(case.folder)[0] for case in cases}) == 4


def test_an_unlabelled_case_says_nothing_of_its_bones(knees: Path) -> None:
    folder = knees / "unlabelled00000"
    assert load_case(folder).reference is None
    assert {path.name for path in folder.iterdir()} == {
        "case.json", "rig.json", "ct.nrrd", "ap.dcm", "lateral.dcm", "preview.png",
    }  # fmt: skip


def test_a_case_depends_on_seed_and_number_only(knees: Path, tmp_path: Path) -> None:
    settings = PopulationSettings(seed=3, rig="paper", voxel_mm=2.0)
    write_population(SyntheticKneeModel(), tmp_path / "cases", 1, settings, workers=1)
    assert voxels(tmp_path / "cases" / "case00000") == voxels(knees / "case00000")
    for name in BONE_NAMES:
        one, other = ((root / "case00000" / f"{name}.ply").read_bytes() for root in (knees, tmp_path / "cases"))
        assert one == other


def test_thumbnails_see_what_radiographs_see(knees: Path, tmp_path: Path) -> None:
    settings = PopulationSettings(seed=3, rig="paper", voxel_mm=2.0, radiographs=False)
    write_population(SyntheticKneeModel(), tmp_path / "cases", 1, settings, workers=1)
    small, large = (
        read_radiograph(load_case(root / "case00000").radiographs["ap"]).pixels for root in (tmp_path / "cases", knees)
    )
    assert small.shape == (64, 64)
    blocks = large.reshape(64, 8, 64, 8).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), blocks.ravel())[0, 1] > 0.98


def test_a_finished_population_grows_and_its_cases_stay(tmp_path: Path) -> None:
    out = tmp_path / "cases"
    assert toys(out, 2).written == ("case00000", "case00001")
    before = {path: path.stat().st_mtime_ns for path in out.glob("case*/*")}
    report = toys(out, 3, unlabelled=2)
    assert report.kept == ("case00000", "case00001")
    assert report.written == ("case00002", "unlabelled00000", "unlabelled00001")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert record(out)["present"] == {"case": 3, "unlabelled": 2}


def test_a_case_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "cases"
    toys(out, 2)
    wanted = voxels(out / "case00001")
    (out / "case00001" / "ct.nrrd").unlink()
    report = toys(out, 2)
    assert (report.kept, report.written) == (("case00000",), ("case00001",))
    assert voxels(out / "case00001") == wanted


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (PopulationSettings(seed=8, rig="paper", radiographs=False), "seed 7 instead of 8"),
        (PopulationSettings(seed=7, rig="room", radiographs=False), "rig paper instead of room"),
        (PopulationSettings(seed=7, rig="paper", radiographs=False, voxel_mm=1.0), "voxel_mm 0.9 instead of 1.0"),
    ],
)
def test_another_population_in_the_same_folder_is_refused(
    settings: PopulationSettings, words: str, tmp_path: Path
) -> None:
    toys(tmp_path / "cases", 1)
    with pytest.raises(InputError, match=words):
        toys(tmp_path / "cases", 2, settings)
    with pytest.raises(InputError, match="another shape model"):
        write_population(SyntheticKneeModel(), tmp_path / "cases", 2, SETTINGS, workers=1)
    assert len(find_cases(tmp_path / "cases")) == 1


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        toys(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1},
        {"rig": "published"},
        {"rig": "barn"},
        {"voxel_mm": 0.0},
        {"voxel_mm": np.nan},
        {"metal_share": 1.5},
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        PopulationSettings(**({"seed": 0} | values))


def test_an_unusable_shape_model_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        write_population(tmp_path / "none.npz", tmp_path / "cases", 1, SETTINGS)
    (tmp_path / "rubbish.npz").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"rubbish\.npz"):
        write_population(tmp_path / "rubbish.npz", tmp_path / "cases", 1, SETTINGS)
    assert not (tmp_path / "cases").exists()


def test_failed_cases_are_named_and_the_others_written(tmp_path: Path) -> None:
    out = tmp_path / "cases"
    report = toys(out, 3, maker=EverySecondFails())
    assert report.written == ("case00000", "case00002") and report.failed == {"case00001": "No knee was found."}
    assert record(out)["failed"] == {"case00001": "No knee was found."}
    assert sorted(path.name for path in out.iterdir()) == ["case00000", "case00002", "population.json"]
    assert toys(out, 3).written == ("case00001",)
    assert record(out)["failed"] == {}


def full_disk(*arguments: Any) -> tuple[CaseContent, int]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="free some space"):
        toys(tmp_path / "cases", 3, maker=full_disk)


def run_command(monkeypatch: pytest.MonkeyPatch, out: Path, *words: str, **options: Any) -> dict[str, Any]:
    """`ssrkd population` with toy cases in the place of knees."""

    def toy_population(model: Path, *arguments: Any) -> Any:
        return write_population(ToySampler(), *arguments, **({"maker": toy_case} | options))

    monkeypatch.setattr(population_run, "write_population", toy_population)
    parser = argparse.ArgumentParser()
    population.add_arguments(parser)
    given = ["--shape-model", "m.npz", "--out", str(out), "--seed", "7", "--rig", "paper", "--workers", "1", *words]
    result = population.run(parser.parse_args(given))
    assert json.loads(json.dumps(result)) == result
    return result


def test_the_command_says_by_its_exit_code_whether_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cases"
    words = ("--cases", "2", "--no-radiographs", "--unlabelled", "1", "--metal-share", "0.5", "--voxel", "1.5")
    failed = run_command(monkeypatch, out, *words, maker=EverySecondFails())
    assert failed["exit_code"] == 1 and list(failed["failed"]) == ["case00001"]
    assert record(out)["settings"] == {
        "seed": 7, "rig": "paper", "radiographs": False, "voxel_mm": 1.5, "metal_share": 0.5,
    }  # fmt: skip
    done = run_command(monkeypatch, out, *words)
    assert done["exit_code"] == 0 and done["written"] == ["case00001"] and len(done["kept"]) == 2
    with pytest.raises(InputError, match="--workers is 0"):
        run_command(monkeypatch, out, "--cases", "2", "--workers", "0")
    with pytest.raises(InputError, match="--scheduler is a cluster"):
        run_command(monkeypatch, out, "--cases", "2", "--scheduler", "tcp://127.0.0.1:1")


class InterruptedAt:
    """A maker during whose case of that number somebody presses Ctrl-C."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, model: Any, number: CaseNumber, settings: PopulationSettings) -> tuple[CaseContent, int]:
        if number.index == self.index:
            raise KeyboardInterrupt
        return toy_case(model, number, settings)


def test_an_interrupted_run_leaves_whole_cases_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "cases"
    result = run_command(monkeypatch, out, "--cases", "4", "--no-radiographs", maker=InterruptedAt(2))
    assert result["exit_code"] == 130 and result["interrupted"]
    assert sorted(path.name for path in out.iterdir()) == ["case00000", "case00001", "population.json"]
    assert record(out)["present"] == {"case": 2, "unlabelled": 0}
    assert run_command(monkeypatch, out, "--cases", "4", "--no-radiographs")["written"] == ["case00002", "case00003"]


_FOREVER = """
import sys
from toy_population import ToySampler, toy_case
from SSRKDCore.population.population_run import write_population
from SSRKDCore.population.synthetic_case import PopulationSettings
if __name__ == "__main__":
    write_population(ToySampler(), sys.argv[1], 100000, PopulationSettings(7, "paper", False), workers=2, maker=toy_case)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_after_a_kill_the_same_cases_come_out(tmp_path: Path) -> None:
    out = tmp_path / "cases"
    script = tmp_path / "forever.py"
    script.write_text(_FOREVER)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(population.__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, script, out], env=environment, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while len(list(out.glob("case*"))) < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        # Its workers hold the other end of this pipe: it closes because they end with their parent.
        process.communicate(timeout=120)
    folders = find_cases(out)
    for folder in folders:
        load_case(folder)
    count = len(folders) + 2
    assert len(folders) >= 3 and len(toys(out, count).kept) >= 3
    toys(tmp_path / "fresh", count)
    for folder in find_cases(tmp_path / "fresh"):
        assert voxels(out / folder.name) == voxels(folder)
