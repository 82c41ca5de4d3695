"""Given knees as another site shows them, by the program, through RTK's projector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from toy_domains import write_site

from SSRKDCore.cases import find_cases, load_case
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.cases_at_site import main
from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk


@pytest.fixture(scope="module", autouse=True)
def _rtk() -> None:
    try:
        load_rtk()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("knees") / "site", 3)


def _given(knees: Path, out: Path, *more: str) -> list[str]:
    return ["--cases", str(knees), "--out", str(out), *more]


def test_the_last_knees_are_exposed_at_the_site_and_kept(knees: Path, tmp_path: Path) -> None:
    out = tmp_path / "site-c"
    assert main(_given(knees, out, "--site", "C", "--skip", "1", "--limit", "1")) == 0
    assert main(_given(knees, out, "--site", "C", "--skip", "1")) == 0
    found, given = [load_case(path) for path in find_cases(out)], [load_case(path) for path in find_cases(knees)[1:]]
    assert [(case.id, case.side) for case in found] == [(case.id, case.side) for case in given]
    assert all(case.provenance["site"] == "C" and case.reference is not None for case in found)
    for case, before in zip(found, given, strict=True):
        for name, path in case.radiographs.items():
            image = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).squeeze()
            view, old = case.rig.view(name), before.rig.view(name)
            assert image.shape == (view.rows, view.columns) == (old.rows // 2, old.columns // 2)
            # Grey values of ten bits, and not one flat field.
            assert image.min() >= 0 and image.max() <= 1023 and np.std(image) > 10


def test_a_folder_of_another_site_is_not_added_to(
    knees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cases"
    assert main(_given(knees, out, "--site", "C", "--limit", "1")) == 0
    before = sorted(path.name for path in out.iterdir())
    assert main(_given(knees, out, "--site", "B", "--skip", "1")) == 2
    assert "is not that case at site B" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == before


def test_another_knee_of_the_same_name_is_not_taken_for_it(
    knees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_given(knees, tmp_path / "cases", "--site", "C", "--limit", "1")) == 0
    others = write_site(tmp_path / "others", 1)
    assert main(_given(others, tmp_path / "cases", "--site", "C")) == 2
    assert "is not that case at site C" in capsys.readouterr().err


def test_no_knee_left_is_refused(knees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_given(knees, tmp_path / "none", "--site", "C", "--skip", "3")) == 2
    assert "has 3 cases, so none is left after the first 3" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
