"""Surfaces: measures with known values, files that others read, chirality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from SSRKDCore.errors import InputError
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import SUFFIXES, find_bone_files, read_bone_surfaces, read_surface, write_surface


def tetrahedron() -> Surface:
    """Four corners at the origin and 1, 2, 3 mm along x, y, z: volume 1 mm^3, nothing symmetric about it."""
    return Surface(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    )


def test_known_measures() -> None:
    surface = tetrahedron()
    assert surface.volume == pytest.approx(1.0)
    # Three right triangles of 1, 1.5 and 3 mm^2, and the slanted one of 3.5 mm^2 (|cross| = 7).
    assert surface.area == pytest.approx(1.0 + 1.5 + 3.0 + 3.5)
    assert surface.is_closed()
    assert surface.bounds.tolist() == [[0, 0, 0], [1, 2, 3]]


def test_open_doubled_and_empty_surfaces_are_not_closed() -> None:
    surface = tetrahedron()
    assert not Surface(surface.vertices, surface.faces[:3]).is_closed()
    assert not Surface(surface.vertices, np.concatenate([surface.faces, surface.faces])).is_closed()
    assert not Surface(surface.vertices, np.concatenate([surface.faces[:3], surface.faces[3:, ::-1]])).is_closed()
    assert not Surface.empty().is_closed() and Surface.empty().area == 0 and Surface.empty().volume == 0


def test_mirroring_keeps_outside_outside() -> None:
    mirrored = tetrahedron().transformed(np.diag([-1.0, 1, 1, 1]))
    assert mirrored.volume == pytest.approx(1.0) and mirrored.vertices[:, 0].min() == -1
    assert Surface(mirrored.vertices, mirrored.faces[:, ::-1]).volume == pytest.approx(-1.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_libraries_read_the_same_points(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"Schienbein größe{suffix}"
    write_surface(path, tetrahedron())
    read = trimesh.load(path, process=True)
    assert read.is_watertight and read.volume == pytest.approx(1.0, rel=1e-5)
    assert read.bounds.tolist() == [[0, 0, 0], [1, 2, 3]]
    back = read_surface(path)
    assert back.is_closed() and back.volume == pytest.approx(1.0, rel=1e-5) and len(back.vertices) == 4


def test_the_stl_header_says_frame_and_unit(tmp_path: Path) -> None:
    write_surface(tmp_path / "a.stl", tetrahedron())
    header = (tmp_path / "a.stl").read_bytes()[:80]
    assert b"LPS" in header and b"mm" in header and not header.startswith(b"solid")


@pytest.mark.parametrize("suffix", [".stl", ".ply"])
def test_a_surface_whose_header_says_ras_is_read_as_lps(suffix: str, tmp_path: Path) -> None:
    turned = tetrahedron().transformed(np.diag([-1.0, -1, 1, 1]))
    write_surface(tmp_path / f"ras{suffix}", turned, "RAS")
    assert trimesh.load(tmp_path / f"ras{suffix}").bounds.tolist() == [[-1, -2, 0], [0, 0, 3]]
    back = read_surface(tmp_path / f"ras{suffix}")
    assert back.bounds.tolist() == [[0, 0, 0], [1, 2, 3]] and back.volume == pytest.approx(1.0, rel=1e-5)
    # As Slicer says it.
    content = (tmp_path / f"ras{suffix}").read_bytes()
    slicer = content.replace(b"SSRKDCore frame RAS unit mm", b"3D Slicer output. SPACE=RAS")
    for name, other in (("slicer", slicer), ("lps", slicer.replace(b"=RAS", b"=LPS"))):
        (tmp_path / f"{name}{suffix}").write_bytes(other)
    assert read_surface(tmp_path / f"slicer{suffix}").bounds.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert read_surface(tmp_path / f"lps{suffix}").bounds.tolist() == [[-1, -2, 0], [0, 0, 3]]


def test_slicers_obj_in_ras_is_read_as_lps(tmp_path: Path) -> None:
    write_surface(tmp_path / "a.obj", tetrahedron())
    (tmp_path / "ras.obj").write_bytes(b"# 3D Slicer output. SPACE=RAS\n" + (tmp_path / "a.obj").read_bytes())
    assert read_surface(tmp_path / "ras.obj").bounds.tolist() == [[-1, -2, 0], [0, 0, 3]]


def test_vtk_round_trip() -> None:
    surface = tetrahedron()
    back = Surface.from_vtk(surface.to_vtk())
    assert np.array_equal(back.vertices, surface.vertices) and np.array_equal(back.faces, surface.faces)


def test_refused_values_and_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        Surface(np.array([[np.nan, 0, 0]]), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="does not exist"):
        Surface(np.zeros((2, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="empty"):
        write_surface(tmp_path / "a.stl", Surface.empty())
    with pytest.raises(InputError, match="not a surface file name"):
        write_surface(tmp_path / "a.vtk", tetrahedron())
    (tmp_path / "empty.stl").touch()
    (tmp_path / "text.ply").write_text("not a mesh")
    for name, words in (
        ("none.stl", "does not exist"),
        ("empty.stl", "is empty"),
        ("text.ply", "text.ply"),
        ("a.txt", "not a surface"),
    ):
        with pytest.raises(InputError, match=words):
            read_surface(tmp_path / name)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SUFFIXES), st.binary(min_size=1, max_size=300), st.integers(0, 250), st.booleans())
def test_damaged_files_give_a_surface_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, noise: bytes, cut: int, keep_start: bool
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    write_surface(folder / f"good{suffix}", tetrahedron())
    good = (folder / f"good{suffix}").read_bytes()
    (folder / f"bad{suffix}").write_bytes(good[:cut] + noise if keep_start else noise)
    try:
        surface = read_surface(folder / f"bad{suffix}")
    except InputError as error:
        assert f"bad{suffix}" in str(error)
    else:
        assert len(surface.faces) > 0 and np.isfinite(surface.vertices).all()


def test_bones_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no bone surfaces"):
        read_bone_surfaces(tmp_path)
    write_surface(tmp_path / "tibia.stl", tetrahedron())
    write_surface(tmp_path / "patella.ply", tetrahedron())
    (tmp_path / "notes.txt").write_text("femur")
    assert list(read_bone_surfaces(tmp_path)) == ["patella", "tibia"]
    write_surface(tmp_path / "tibia.obj", tetrahedron())
    with pytest.raises(InputError, match="two surfaces of the tibia"):
        find_bone_files(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        find_bone_files(tmp_path / "none")
