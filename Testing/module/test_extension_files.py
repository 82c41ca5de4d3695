"""The extension's descriptions agree with one another, and what is installed is what the module imports."""

from __future__ import annotations

import ast
import json
import re
import shutil
import struct
import subprocess
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


#: What Slicer's build brings, in as many lines as the rules need: its macro installs the scripts and resources it is given.
_SLICER_BUILD = """
cmake_minimum_required(VERSION 3.16)
project(BiplanarBoneRecon NONE)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib)
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file ${MODULE_SCRIPTS} ${MODULE_RESOURCES})
    get_filename_component(folder ${file} DIRECTORY)
    install(FILES ${file} DESTINATION lib/${folder} COMPONENT RuntimeLibraries)
  endforeach()
endfunction()
add_subdirectory("@SOURCE@/BiplanarBoneRecon" module)
"""


def _files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
def test_the_install_rules_carry_every_file(repository: Path, tmp_path: Path) -> None:
    """CMake itself runs the rules: what is installed and what the build tree holds are the checkout's files, all of them."""
    (tmp_path / "CMakeLists.txt").write_text(_SLICER_BUILD.replace("@SOURCE@", repository.as_posix()))
    build, installed = tmp_path / "build", tmp_path / "installed"
    subprocess.run(["cmake", "-S", tmp_path, "-B", build], check=True, capture_output=True)
    subprocess.run(["cmake", "--install", build, "--prefix", installed], check=True, capture_output=True)
    engine = _files(repository / "SSRKDCore")
    assert any(name.startswith("planning/") for name in engine) and any(name.endswith(".html") for name in engine)
    data = {
        f"resources/{name}/{file}"
        for name in ("Models", "SampleCase", "ViewScales", "ViewMotion")
        for file in _files(repository / "Resources" / name)
    }
    for root in (installed / "lib", build / "lib"):
        assert _files(root / "SSRKDCore") == engine | data
    module = _files(installed / "lib") - {f"SSRKDCore/{name}" for name in engine | data}
    assert module == _files(repository / NAME) - {"CMakeLists.txt"}


def test_the_python_package_carries_every_file(repository: Path, tmp_path: Path) -> None:
    """What pyproject.toml lists: every package of the engine, its data, and models with folders inside."""
    tools = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for path in (repository / "SSRKDCore").rglob("*.py")}
    names = {".".join(folder.relative_to(repository).parts) for folder in folders}
    assert set(tools["packages"]) == names | {"SSRKDCore.resources"}
    carried = {
        path
        for package, patterns in tools["package-data"].items()
        for pattern in patterns
        for path in (repository / tools["package-dir"].get(package, package.replace(".", "/"))).glob(pattern)
        if path.is_file()
    }
    wanted = [path for path in (repository / "SSRKDCore").rglob("*") if path.is_file() and path.suffix != ".py"]
    for name in ("Models", "SampleCase", "ViewScales", "ViewMotion"):
        wanted += [path for path in (repository / "Resources" / name).rglob("*") if path.is_file()]
    missing = [str(path) for path in wanted if path not in carried and "__pycache__" not in path.parts]
    assert not missing
    inside = tmp_path / "Models" / "compact" / "segmenter" / "weights.safetensors"
    inside.parent.mkdir(parents=True)
    inside.touch()
    assert any(inside in tmp_path.glob(pattern) for pattern in tools["package-data"]["SSRKDCore.resources"])


def test_the_self_tests_are_registered_for_ctest(repository: Path, module_cmake: str) -> None:
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in module_cmake
    assert (
        "/../Testing" in module_cmake
        and "add_subdirectory(module)" in (repository / "Testing/CMakeLists.txt").read_text()
    )
    registered = (repository / "Testing" / "module" / "CMakeLists.txt").read_text()
    for script in re.findall(r"SCRIPT (\S+)", registered):
        assert (repository / "Testing" / "module" / script).is_file()


def test_the_checklist_of_tier_3(repository: Path) -> None:
    """Of Slicer's extension submission: licence, tutorial with pictures, sample data, logic apart from the panel."""
    assert "Permission is hereby granted, free of charge" in (repository / "LICENSE.txt").read_text()
    guide = (repository / "docs" / "slicer.md").read_text()
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", guide)
    assert len(pictures) == 7 and all((repository / "docs" / picture).is_file() for picture in pictures)
    assert "docs/slicer.md" in (repository / "README.md").read_text()
    assert "registerCustomSampleDataSource" in (repository / NAME / f"{NAME}Lib" / "sample_data.py").read_text()
    for path in sorted((repository / NAME / f"{NAME}Lib").glob("*.py")):
        if not path.name.startswith("panel_"):
            assert ".ui." not in path.read_text(), path.name


def test_no_module_that_python_3_12_has_dropped(repository: Path) -> None:
    dropped = {"imp", "distutils", "asynchat", "asyncore", "smtpd"}
    for path in [*(repository / NAME).rglob("*.py"), *(repository / "SSRKDCore").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 11))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert not {name.split(".")[0] for name in names} & dropped, path


def test_packages_are_those_of_the_engine(repository: Path) -> None:
    groups = json.loads((repository / NAME / "Resources" / "packages.json").read_text())
    rows = groups["packages"]
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    part_of_slicer = ("numpy", "scipy", "vtk", "SimpleITK")
    wanted = {words for words in project["dependencies"] if not words.startswith(part_of_slicer)}
    assert {row["requirement"] for row in rows} == wanted
    assert {row["requirement"] for row in groups["planning"]} == set(project["optional-dependencies"]["planning"])
    assert all(row["installed_mb"] > 0 for row in [*rows, *groups["planning"]])


def test_the_icon_is_a_square_png(repository: Path) -> None:
    data = (repository / NAME / "Resources" / "Icons" / f"{NAME}.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (128, 128)
