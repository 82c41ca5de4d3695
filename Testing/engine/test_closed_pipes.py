"""`ssrkd ... | head`: whoever reads our words may go away, and no job is lost for words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from SSRKDCore import cli, console

PROGRAM = (sys.executable, "-m", "SSRKDCore")
NEEDS_FULL_DEVICE = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")


@contextmanager
def unread() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


def test_words_that_nobody_reads_end_quietly_with_the_usual_code() -> None:
    # Unbuffered, Python's own printing of help keeps the failure to itself.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for words in (["doctor"], ["doctor", "--json"], ["--help"], ["--version"], ["reconstruct", "--help"]):
        with unread() as pipe:
            done = subprocess.run(
                [*PROGRAM, *words], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=120, env=environment
            )
        assert (done.returncode, done.stderr) == (cli.EXIT_UNREAD, ""), words


def test_bad_input_is_bad_input_whoever_reads() -> None:
    words = ["reconstruct", "--ap", "absent.dcm", "--lateral", "b.dcm", "--out", "out"]
    for more in ([], ["--json"]):
        with unread() as pipe:
            done = subprocess.run([*PROGRAM, *words, *more], stdout=pipe, stderr=pipe, timeout=120)
        assert done.returncode == cli.EXIT_BAD_INPUT


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_result_is_written_though_nobody_hears_of_it(repository: Path, tmp_path: Path, closed: str) -> None:
    sample = repository / "Resources" / "SampleCase"
    words = ["reconstruct", "--ap", sample / "ap.dcm", "--lateral", sample / "lateral.dcm", "--resolution", "48"]
    words += ["--no-trust", "--no-refine", "--progress-lines", "--out", tmp_path / "out"]
    other = "stderr" if closed == "stdout" else "stdout"
    with unread() as pipe:
        done = subprocess.run([*PROGRAM, *words], **{closed: pipe, other: subprocess.PIPE}, text=True, timeout=300)
    assert (tmp_path / "out" / "femur.stl").is_file() and (tmp_path / "out" / "report.json").is_file()
    if closed == "stderr":
        assert done.returncode == 0 and "femur" in done.stdout
    else:
        assert done.returncode == cli.EXIT_UNREAD
        assert all("progress" in json.loads(line) for line in done.stderr.splitlines())


def test_a_stream_that_was_never_open_is_no_obstacle() -> None:
    for redirection in (">&-", "2>&-"):
        command = f'"{sys.executable}" -m SSRKDCore doctor --progress-lines {redirection}'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stderr == "" and ("torch" in done.stdout) == (redirection == "2>&-")


@NEEDS_FULL_DEVICE
def test_a_full_disk_under_the_words_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, "doctor"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == cli.EXIT_BAD_INPUT
    assert "could not be written" in done.stderr and done.stderr.count("\n") == 1


def test_progress_and_words_go_on_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_progress_lines", True)
    with (
        unread() as pipe,
        os.fdopen(os.dup(pipe), "w") as out,
        os.fdopen(os.dup(pipe), "w") as errors,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        with console.progress_bar() as progress:
            progress(0.5, "half")
            assert console.undelivered() is None, "only words on stdout are asked for"
            console.say("words")
            console.say("more words, which go nowhere")
            progress(1.0, "all")
        assert isinstance(console.undelivered(), BrokenPipeError)
        assert console.undelivered() is None
