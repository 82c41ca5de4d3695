"""Output folders appear whole or not at all; cases name only files of their own folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from SSRKDCore.cases import find_cases, load_case, save_case
from SSRKDCore.cli import main
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.presets import preset
from SSRKDCore.image_files import write_image
from SSRKDCore.json_files import read_json, to_json_text, write_json
from SSRKDCore.output_folder import check_output_folder, complete_folder
from SSRKDCore.radiographs.dicom_writer import write_radiograph_dicom


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "neu" / "Ergebnis ä"
    with complete_folder(target) as folder:
        (folder / "a.txt").write_text("1")
        assert not target.exists()
    assert _entries(target) == ["a.txt"] and _entries(tmp_path / "neu") == ["Ergebnis ä"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), Cancelled()])
def test_an_error_leaves_nothing_and_the_old_folder_as_it_was(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept.txt").write_text("kept")
    with pytest.raises(type(error)), complete_folder(tmp_path / "old", overwrite=True) as folder:
        (folder / "half.txt").write_text("half")
        raise error
    assert _entries(tmp_path) == ["old"] and (tmp_path / "old" / "kept.txt").read_text() == "kept"


def test_existing_folders_are_refused_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stale.txt").touch()
    with pytest.raises(InputError, match="--overwrite"), complete_folder(tmp_path / "out"):
        pytest.fail("must not be entered")
    with complete_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "new.txt").touch()
    assert _entries(tmp_path / "out") == ["new.txt"] and _entries(tmp_path) == ["out"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EACCES, "no")])
def test_an_interrupt_while_a_folder_is_replaced_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    rename, calls = os.rename, []

    def interrupted(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == number:
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises((KeyboardInterrupt, InputError)), complete_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "new.txt").touch()
    assert _entries(tmp_path) == ["out"] and _entries(tmp_path / "out") == ["old.txt"]


def test_files_and_the_current_folder_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a folder"):
        check_output_folder(tmp_path / "file", overwrite=True)
    with pytest.raises(InputError, match="not a folder"):
        check_output_folder(tmp_path / "file" / "inside")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "outer" / "inner")
    for folder in (Path(), Path(".."), tmp_path / "outer"):
        with pytest.raises(InputError, match="never replaced"):
            check_output_folder(folder, overwrite=True)


def test_what_a_command_reads_is_never_replaced_by_what_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "Knie"
    case.mkdir()
    for name in ("ap.dcm", "lateral.dcm"):
        (case / name).write_text("an image")
    to_case = ["--out", str(case), "--overwrite"]
    for words in (
        ["reconstruct", "--ap", str(case / "ap.dcm"), "--lateral", str(case / "lateral.dcm")],
        ["reconstruct", "--view", f"ap={case / 'ap.dcm'}", "--view", "lateral=elsewhere.dcm"],
        ["compare", str(case), str(tmp_path)],
        ["export", str(case / ".." / "Knie")],
    ):
        assert main([*words, *to_case]) == 2
        assert "which --overwrite would replace" in capsys.readouterr().err
    assert _entries(case) == ["ap.dcm", "lateral.dcm"]
    # What lies elsewhere is read: these are no images.
    assert (
        main(
            [
                "reconstruct",
                "--ap",
                str(case / "ap.dcm"),
                "--lateral",
                str(case / "lateral.dcm"),
                "--out",
                str(tmp_path / "out"),
                "--overwrite",
            ]
        )
        == 2
    )
    assert "--overwrite" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written"), (errno.EACCES, "cannot be written")],
)
def test_full_and_read_only_disks_are_explained(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(InputError, match=words), complete_folder(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    assert _entries(tmp_path) == []


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full, the device that is always full"
)
def test_a_really_full_device_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="disk is full"), complete_folder(tmp_path / "out") as folder:
        (folder / "a.bin").symlink_to("/dev/full")
        (folder / "a.bin").write_bytes(b"x" * 100_000)
    assert _entries(tmp_path) == []


def _write_volume(path: Path) -> None:
    write_image(path, SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (40, 40, 40))))


def _write_picture(path: Path) -> None:
    write_image(path, SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (90, 90)).astype(np.uint8)))


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full, the device that is always full"
)
@pytest.mark.parametrize(("name", "write"), [("ct.nrrd", _write_volume), ("preview.png", _write_picture)])
def test_a_full_disk_is_explained_where_itk_writes(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    with (
        pytest.raises(InputError, match=r"^The disk is full, nothing was written to .*"),
        complete_folder(tmp_path / "out") as folder,
    ):
        (folder / name).symlink_to("/dev/full")
        write(folder / name)
    assert _entries(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit of a file's size")
def test_a_radiograph_that_finds_no_room_is_explained_in_one_line(tmp_path: Path) -> None:
    import resource

    rig = preset("room", pixel_spacing=(2.0, 2.0), rows=900, columns=900)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(InputError) as caught, complete_folder(tmp_path / "out") as folder:
            write_radiograph_dicom(folder / "ap.dcm", np.ones((900, 900), np.float32), rig.views[0], rig, "right")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in str(caught.value) and "\n" not in str(caught.value)
    assert _entries(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not UTF-8")
def test_names_that_are_no_utf8_are_written_or_refused_in_one_sentence(tmp_path: Path) -> None:
    strange = os.fsdecode(b"Kn\xe4.seg.nrrd")
    write_json(tmp_path / "report.json", {"file": strange})
    assert read_json(tmp_path / "report.json", "a report") == {"file": strange}
    with pytest.raises(InputError, match="no UTF-8"):
        check_output_folder(tmp_path / strange)
    folder = tmp_path / os.fsdecode(b"\xe4")
    folder.mkdir()
    for name in (strange, "ct.nrrd", "labels.seg.nrrd"):
        (folder / name).write_bytes(b"NRRD0004\n")
    # In a process of its own: SimpleITK would end it.
    program = """
import sys
from pathlib import Path
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.segmentation_files import read_segmentation
for read, name in (read_segmentation, "labels.seg.nrrd"), (read_radiograph, "ct.nrrd"), (read_ct, "ct.nrrd"), (read_ct, "."):
    try:
        read(Path(sys.argv[1]) / name)
    except InputError as error:
        print("no UTF-8" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.split() == ["True"] * 4, done.stderr


def test_json_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OSError, match=r"report\.json"):
        write_json(tmp_path / "report.json", {})
    assert _entries(tmp_path) == ["report.json"]


def test_json_of_numpy_values_and_nan(tmp_path: Path) -> None:
    write_json(
        tmp_path / "a.json",
        {"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan"), "d": Path("x"), "e": np.nan * np.ones(1)},
    )
    assert read_json(tmp_path / "a.json", "a test") == {"a": 1.5, "b": [1, 2], "c": None, "d": "x", "e": [None]}
    assert _entries(tmp_path) == ["a.json"]
    with pytest.raises(TypeError, match="set cannot"):
        to_json_text({"a": {1}})
    with pytest.raises(InputError, match="too large"):
        read_json(tmp_path / "a.json", "a test", max_bytes=5)


def test_a_path_whose_bytes_are_no_utf8_comes_back_as_it_was(tmp_path: Path) -> None:
    path = Path(os.fsdecode(b"/data/caf\xe9"))
    write_json(tmp_path / "a.json", {"bones": path})
    assert Path(read_json(tmp_path / "a.json", "a test")["bones"]) == path
    json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))


def _case(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("ap.nrrd", "lateral.nrrd", "femur.ply"):
        (folder / name).write_bytes(b"x")
    save_case(
        folder,
        "k1",
        "left",
        preset("room", "left"),
        {"ap": "ap.nrrd", "lateral": "lateral.nrrd"},
        "line_integral",
        {"femur": "femur.ply"},
    )
    value = json.loads((folder / "case.json").read_text()) | changes
    (folder / "case.json").write_text(json.dumps(value))
    return folder


def test_a_case_survives_its_files(tmp_path: Path) -> None:
    case = load_case(_case(tmp_path / "k1"))
    assert (case.id, case.side, case.intensity) == ("k1", "left", "line_integral")
    assert case.radiographs["ap"] == tmp_path / "k1" / "ap.nrrd" and case.reference == {
        "femur": tmp_path / "k1" / "femur.ply"
    }
    assert case.rig == preset("room", "left")
    assert find_cases(tmp_path) == [tmp_path / "k1"] == find_cases(tmp_path / "k1")
    # What a run that was killed while it wrote another leaves.
    shutil.copytree(tmp_path / "k1", tmp_path / ".k2-a1b2c3")
    assert find_cases(tmp_path) == [tmp_path / "k1"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "ssrkd-case/2"}, "only 'ssrkd-case/1'"),
        ({"side": "middle"}, "right or left"),
        ({"intensity": "bright"}, "intensity"),
        ({"id": ""}, "no id"),
        ({"radiographs": {"ap": "ap.nrrd"}}, "one file for each view"),
        ({"radiographs": {"ap": "../../etc/passwd", "lateral": "lateral.nrrd"}}, "outside the case's folder"),
        ({"radiographs": {"ap": "/etc/passwd", "lateral": "lateral.nrrd"}}, "outside the case's folder"),
        ({"radiographs": {"ap": "gone.nrrd", "lateral": "lateral.nrrd"}}, "does not exist"),
        ({"reference": {"humerus": "femur.ply"}}, "humerus"),
        ({"reference": 5}, "reference must be"),
        ({"ct": "gone.nrrd"}, "does not exist"),
        ({"reference_extent": {"femur": [5, 1]}}, "reference_extent"),
    ],
)
def test_unusable_cases_are_refused_with_the_reason(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_case(_case(tmp_path / "k1", **changes))


def test_a_folder_without_cases(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no case"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        find_cases(tmp_path / "none")


def test_a_case_that_was_being_written_is_none(tmp_path: Path) -> None:
    _case(tmp_path / "a")
    with complete_folder(tmp_path / "b") as unfinished:
        _case(unfinished)
        assert unfinished.parent == tmp_path and find_cases(tmp_path) == [tmp_path / "a"]
    assert find_cases(tmp_path) == [tmp_path / "a", tmp_path / "b"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(
        ["schema", "id", "side", "rig", "radiographs", "intensity", "reference", "ct", "provenance", "reference_extent"]
    ),
    _JSON,
)
def test_any_value_in_a_case_is_a_case_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = _case(tmp_path_factory.mktemp("fuzz") / "k1", **{key: value})
    try:
        case = load_case(folder)
    except InputError as error:
        assert "case.json" in str(error) or "rig" in str(error)
    else:
        assert case.side in ("left", "right") and set(case.radiographs) == {"ap", "lateral"}
