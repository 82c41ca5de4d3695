"""`ssrkd export`: other surfaces beside the bones, and files that are whole or not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from SSRKDCore.cli import main
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface


@pytest.fixture
def bones(tmp_path: Path) -> Path:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=20.0)
    folder = tmp_path / "bones"
    folder.mkdir()
    write_surface(folder / "femur.ply", Surface(mesh.vertices + np.array([40.0, 5.0, 7.0]), mesh.faces))
    write_surface(tmp_path / "guide.stl", Surface(mesh.vertices / 2 - np.array([30.0, 1.0, 2.0]), mesh.faces))
    return folder


def test_another_surface_keeps_its_triangles(bones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(bones), "--also", f"guide={tmp_path / 'guide.stl'}", "--triangles", "1000", "--frame", "RAS"]
    assert main([*words, "--side", "left", "--out", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["bones"]["femur"]["check"]["triangles"] <= 1000
    assert report["bones"]["guide"]["deviation_mm"] == 0.0
    found = trimesh.load(tmp_path / "out" / "left_guide_RAS.stl")
    before = read_surface(tmp_path / "guide.stl")
    assert len(found.faces) == len(before.faces)
    np.testing.assert_allclose(found.vertices.mean(axis=0), before.vertices.mean(axis=0) * [-1, -1, 1], atol=0.05)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--also", "guide"], "NAME=FILE"),
        (["--also", "Guide/x=a.stl"], "NAME=FILE"),
        (["--also", "femur=guide.stl"], "like a bone"),
        (["--also", "guide=absent.stl"], "absent.stl"),
    ],
)
def test_bad_names_are_refused(
    bones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["export", str(bones), *words, "--out", str(tmp_path / "out")]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("suffix", ["stl", "ply", "obj"])
def test_a_full_disk_leaves_no_half_surface(
    bones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        code = main(["export", str(bones), "--format", suffix, "--out", str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2 and "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
