"""The extension's descriptions agree with one another, and what is installed is what the module imports."""

from __future__ import annotations

import ast
import json
import re
import struct
import tomllib
from pathlib import Path

import pytest

NAME = "BiplanarBoneRecon"


def _cmake_values(text: str) -> dict[str, str]:
    return dict(re.findall(r'set\((EXTENSION_\w+) "([^"]*)"\)', text))


def _listed(text: str, variable: str) -> set[str]:
    words = re.search(rf"set\({variable}\s+(.*?)\s*\)", text, re.DOTALL)
    assert words, variable
    return {word.replace("${MODULE_NAME}", NAME) for word in words.group(1).split()}


@pytest.fixture(scope="module")
def extension(repository: Path) -> dict[str, str]:
    text = (repository / "CMakeLists.txt").read_text()
    assert re.search(rf"^project\({NAME}\)", text, re.MULTILINE)
    return _cmake_values(text)


@pytest.fixture(scope="module")
def s4ext(repository: Path) -> dict[str, str]:
    lines = (repository / f"{NAME}.s4ext").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def module_cmake(repository: Path) -> str:
    return (repository / NAME / "CMakeLists.txt").read_text()


def test_cmake_and_s4ext_agree(extension: dict[str, str], s4ext: dict[str, str]) -> None:
    for key, other in {
        "HOMEPAGE": "homepage",
        "CATEGORY": "category",
        "CONTRIBUTORS": "contributors",
        "DESCRIPTION": "description",
        "ICONURL": "iconurl",
        "SCREENSHOTURLS": "screenshoturls",
        "DEPENDS": "depends",
    }.items():
        assert extension[f"EXTENSION_{key}"] == s4ext[other], key


def test_the_index_entry_follows_the_schema_and_agrees(
    repository: Path, extension: dict[str, str], s4ext: dict[str, str]
) -> None:
    entry = json.loads((repository / f"{NAME}.json").read_text())
    # The catalogue's schema 1.0.1 allows these keys and no others.
    allowed = {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "enabled",
        "scm_revision",
        "scm_type",
        "scm_url",
        "tier",
    }
    assert set(entry) <= allowed and {"$schema", "category", "scm_url"} <= set(entry)
    assert entry["category"] == extension["EXTENSION_CATEGORY"]
    assert entry["build_dependencies"] == extension["EXTENSION_DEPENDS"].split()
    assert entry["scm_url"].removesuffix(".git") == s4ext["scmurl"] == extension["EXTENSION_HOMEPAGE"]
    assert entry["scm_revision"] == s4ext["scmrevision"]
    assert entry["build_subdirectory"] == s4ext["build_subdirectory"]
    assert entry["tier"] == 3


def test_urls_point_to_files_of_this_repository(
    repository: Path, extension: dict[str, str], s4ext: dict[str, str]
) -> None:
    base = s4ext["scmurl"].replace("github.com", "raw.githubusercontent.com") + f"/{s4ext['scmrevision']}/"
    urls = [extension["EXTENSION_ICONURL"], *extension["EXTENSION_SCREENSHOTURLS"].split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(base), url
        assert (repository / url.removeprefix(base)).is_file(), url


def test_every_module_file_is_installed(repository: Path, module_cmake: str) -> None:
    folder = repository / NAME
    scripts = _listed(module_cmake, "MODULE_PYTHON_SCRIPTS")
    assert scripts == {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    resources = _listed(module_cmake, "MODULE_PYTHON_RESOURCES")
    present = {path.relative_to(folder).as_posix() for path in (folder / "Resources").rglob("*") if path.is_file()}
    assert resources == present


def test_every_import_is_slicer_s_or_installed(repository: Path, module_cmake: str) -> None:
    """At file scope nothing that Slicer lacks: the panel must open before anything is installed."""
    scripts = _listed(module_cmake, "MODULE_PYTHON_SCRIPTS")
    own = {Path(script).stem for script in scripts} | {f"{NAME}Lib"}
    slicer_has = {"slicer", "qt", "vtk", "numpy", "packaging"}
    import sys

    for script in scripts:
        tree = ast.parse((repository / NAME / script).read_text())
        for node in tree.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""] if node.level == 0 else [f"{NAME}Lib/{node.module or '__init__'}.py"]
            for name in names:
                if name.endswith(".py"):
                    assert name in scripts or name.endswith("__init__.py"), (script, name)
                else:
                    top = name.split(".")[0]
                    assert top in own | slicer_has | set(sys.stdlib_module_names), (script, name)


def test_engine_models_and_sample_are_packaged_where_they_are_looked_for(repository: Path, module_cmake: str) -> None:
    assert module_cmake.count("Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR") == 2
    assert re.search(r"install\(DIRECTORY \"\$\{_engine_source\}\"", module_cmake)
    # SSRKDCore/resource_files.py looks into SSRKDCore/resources first.
    assert "SSRKDCore/resources" in module_cmake
    for folder in re.search(r"foreach\(_resource (.*?)\)", module_cmake).group(1).split():  # type: ignore[union-attr]
        assert (repository / "Resources" / folder).is_dir()
    assert "slicer_add_python_unittest" in module_cmake


def test_packages_are_those_of_the_engine(repository: Path) -> None:
    rows = json.loads((repository / NAME / "Resources" / "packages.json").read_text())["packages"]
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    part_of_slicer = ("numpy", "scipy", "vtk", "SimpleITK")
    wanted = {words for words in project["dependencies"] if not words.startswith(part_of_slicer)}
    assert {row["requirement"] for row in rows} == wanted
    assert all(row["installed_mb"] > 0 for row in rows)


def test_the_icon_is_a_square_png(repository: Path) -> None:
    data = (repository / NAME / "Resources" / "Icons" / f"{NAME}.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (128, 128)
