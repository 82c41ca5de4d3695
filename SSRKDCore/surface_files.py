"""Surfaces as STL, PLY and OBJ files, LPS millimetres."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.surface import Surface

SUFFIXES = (".stl", ".ply", ".obj")
_MAXIMUM_BYTES = 1024 * 1024 * 1024
_HEADER = "SSRKDCore frame {frame} unit mm"
# What our headers say of a frame, and Slicer's.
_SAYS_RAS = re.compile(rb"\b(frame |SPACE=)RAS\b")
_LONGEST_HEADER = 4096


def read_surface(path: str | Path) -> Surface:
    """Read a triangle surface; one whose header says that it stands in RAS is turned into LPS.

    STL stores every triangle's corners apart; corners at exactly the same place become one vertex again.

    Raises InputError when the file is missing, too large, not STL/PLY/OBJ, damaged, has no triangles, or non-finite coordinates.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is not a surface file: use {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: export the surface again.")
    if path.stat().st_size > _MAXIMUM_BYTES:
        raise InputError(f"{path} is larger than 1 GiB: decimate the surface first.")
    surface = _read_with_trimesh(path, suffix)
    if surface.is_empty:
        raise InputError(f"{path} holds no triangles, or is damaged: export the surface again.")
    if _SAYS_RAS.search(_header(path, suffix)):
        # Half a turn about z: x and y change their signs, nothing is mirrored.
        surface = surface.transformed(np.diag([-1.0, -1.0, 1.0, 1.0]))
    return _merged(surface) if suffix == ".stl" else surface


def _header(path: Path, suffix: str) -> bytes:
    """What a file says of itself before its triangles."""
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    if suffix == ".stl":
        return start[:80]
    if suffix == ".ply":
        return start.partition(b"end_header")[0]
    return b"\n".join(line for line in start.splitlines() if line.startswith(b"#"))


def _read_with_trimesh(path: Path, suffix: str) -> Surface:
    # Not VTK: its readers end the whole process on some damaged files (an absurd count in a header).
    import trimesh

    options = {"skip_materials": True} if suffix == ".obj" else {}
    try:
        # An open file instead of a path: nothing that the file names (materials, textures) is looked for.
        with path.open("rb") as file:
            mesh = trimesh.load_mesh(file, file_type=suffix[1:], process=False, **options)
        return Surface(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64))
    except Exception as error:  # A damaged file fails in any way that parsing can fail; each means the same here.
        raise InputError(f"{path} is damaged or not a {suffix[1:].upper()} file: export the surface again.") from error


def _merged(surface: Surface) -> Surface:
    """One vertex a position, no triangle with two corners at one place."""
    if surface.is_empty:
        return surface
    vertices, index = np.unique(surface.vertices, axis=0, return_inverse=True)
    faces = index.reshape(-1)[surface.faces]
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Surface(vertices, faces[proper])


def write_surface(path: str | Path, surface: Surface, frame: str = "LPS") -> None:
    """Write a surface as binary STL, binary PLY or OBJ, by the suffix; coordinates stay as they are.

    `frame` is what the header (STL, PLY) says of the axes that they stand in; everything of ours is LPS, an export may be RAS.

    Raises InputError for another suffix, ValueError for an empty surface, OSError where the file does not become whole.
    """
    from vtkmodules.vtkIOGeometry import vtkOBJWriter, vtkSTLWriter
    from vtkmodules.vtkIOPLY import vtkPLYWriter

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is not a surface file name: use {', '.join(SUFFIXES)}.")
    if surface.is_empty:
        raise ValueError("an empty surface is not written")
    writer: Any = {".obj": vtkOBJWriter, ".ply": vtkPLYWriter, ".stl": vtkSTLWriter}[suffix]()
    if suffix != ".obj":
        writer.SetFileTypeToBinary()
    if suffix == ".ply":
        writer.AddComment(_HEADER.format(frame=frame))
    elif suffix == ".stl":
        writer.SetHeader(_HEADER.format(frame=frame))
    writer.SetFileName(str(path))
    writer.SetInputData(surface.to_vtk())
    if writer.Write() != 1 or not path.is_file() or not _is_whole(path, suffix, surface):
        raise OSError(f"{path.name} could not be written whole, most likely because the disk is full")


def _is_whole(path: Path, suffix: str, surface: Surface) -> bool:
    """Whether a file that VTK has just written holds everything: its writers do not notice a full disk."""
    vertices, faces = len(surface.vertices), len(surface.faces)
    if suffix == ".stl":
        return path.stat().st_size == 84 + 50 * faces
    content = path.read_bytes()
    if suffix == ".ply":
        end = content.find(b"end_header\n")
        return end >= 0 and len(content) == end + len(b"end_header\n") + 12 * vertices + 13 * faces
    return content.endswith(b"\n") and content.count(b"\nv ") == vertices and content.count(b"\nf ") == faces


def find_bone_files(folder: str | Path) -> dict[str, Path]:
    """The surface file of each bone in a folder (femur.stl, tibia.ply, ...), by bone name; bones without a file are left out.

    Raises InputError when the folder is missing or one bone has several files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder: name the folder that holds femur, tibia, fibula and patella surfaces."
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.stem.lower()
        if name in BONE_NAMES and path.suffix.lower() in SUFFIXES and path.is_file():
            if name in found:
                raise InputError(
                    f"{folder} holds two surfaces of the {name} ({found[name].name}, {path.name}): remove one."
                )
            found[name] = path
    return found


def read_bone_surfaces(folder: str | Path) -> dict[str, Surface]:
    """Read the bones of a folder, in the order of the labels. Raises InputError when it holds none."""
    files = find_bone_files(folder)
    if not files:
        raise InputError(
            f"{folder} holds no bone surfaces: it needs files such as femur.stl, tibia.ply or patella.obj."
        )
    return {name: read_surface(files[name]) for name in BONE_NAMES if name in files}
