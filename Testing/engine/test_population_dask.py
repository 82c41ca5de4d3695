"""Populations made by several workers: processes of this machine, and a Dask cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_population import EverySecondFails, ToySampler, ends_its_process, toy_case, voxels

from SSRKDCore.errors import InputError
from SSRKDCore.population.population_run import write_population
from SSRKDCore.population.synthetic_case import PopulationSettings

distributed = pytest.importorskip("distributed")
SETTINGS = PopulationSettings(seed=7, rig="paper", radiographs=False)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases made in this process, one after another."""
    folder = tmp_path_factory.mktemp("alone") / "cases"
    write_population(ToySampler(), folder, 3, SETTINGS, unlabelled=1, workers=1, maker=toy_case)
    return folder


@pytest.fixture(scope="module")
def scheduler() -> object:
    """Address of a cluster of two worker processes, one of them with two threads' worth of work at once."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def assert_same_population(found: Path, wanted: Path) -> None:
    names = sorted(path.name for path in wanted.iterdir())
    assert sorted(path.name for path in found.iterdir()) == names
    for name in names:
        if (wanted / name).is_dir():
            assert voxels(found / name) == voxels(wanted / name)


def test_processes_make_the_same_cases(reference: Path, tmp_path: Path) -> None:
    report = write_population(ToySampler(), tmp_path / "cases", 3, SETTINGS, unlabelled=1, workers=2, maker=toy_case)
    assert len(report.written) == 4 and not report.failed
    assert_same_population(tmp_path / "cases", reference)


def test_a_cluster_makes_the_same_cases(reference: Path, tmp_path: Path, scheduler: str) -> None:
    report = write_population(
        ToySampler(), tmp_path / "cases", 3, SETTINGS, unlabelled=1, scheduler=scheduler, maker=toy_case
    )
    assert len(report.written) == 4 and not report.failed
    assert_same_population(tmp_path / "cases", reference)


def test_failures_on_a_cluster_are_named(tmp_path: Path, scheduler: str) -> None:
    report = write_population(
        ToySampler(), tmp_path / "cases", 4, SETTINGS, scheduler=scheduler, maker=EverySecondFails()
    )
    assert report.written == ("case00000", "case00002")
    assert report.failed == dict.fromkeys(("case00001", "case00003"), "No knee was found.")


def test_no_scheduler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SSRKDCore.population.case_workers._SCHEDULER_TIMEOUT_S", 1)
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        write_population(ToySampler(), tmp_path / "cases", 1, SETTINGS, scheduler="tcp://127.0.0.1:9", maker=toy_case)


def test_a_process_that_is_killed_ends_the_run_with_whole_cases(tmp_path: Path) -> None:
    out = tmp_path / "cases"
    with pytest.raises(InputError, match="fewer --workers"):
        write_population(ToySampler(), out, 3, SETTINGS, workers=2, maker=ends_its_process)
    assert not [path for path in out.iterdir() if path.is_dir()]
    assert len(write_population(ToySampler(), out, 3, SETTINGS, workers=1, maker=toy_case).written) == 3
