"""`ssrkd` as a user calls it: help, exit codes, JSON, doctor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from SSRKDCore import __version__, cli, console


def _run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "SSRKDCore", *words], capture_output=True, encoding="utf-8", timeout=120, **options
    )  # type: ignore[call-overload,no-any-return]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from SSRKDCore.cli import build_parser; build_parser().format_help(); import SSRKDCore;"
        "heavy = {'torch', 'vtkmodules', 'numba', 'scipy', 'SimpleITK', 'pydicom', 'matplotlib'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_has_help_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text and len(text) > 150


@pytest.mark.parametrize(
    "words", [("rig", "show", "room"), ("reader-study", "score"), ("style", "apply"), ("calibrate", "ball")]
)
def test_a_job_takes_json_before_and_after_its_name(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*words[:2], "--help"])
    assert stop.value.code == 0 and "--json" in capsys.readouterr().out
    if words[2:]:
        for said in ([words[0], "--json", *words[1:]], [*words, "--json"]):
            assert cli.main(said) == 0
            assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_version_and_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0 and __version__ in capsys.readouterr().out
    for words in ([], ["operate"], ["doctor", "--nonsense"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        assert stop.value.code == 2


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = _run(
        "reconstruct", "--ap", str(tmp_path / "Röntgen 1.dcm"), "--lateral", "b.dcm", "--out", str(tmp_path / "out")
    )
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.count("\n") == 1 and "Röntgen 1.dcm" in done.stderr and "Traceback" not in done.stderr
    done = _run("reconstruct", "--ap", "a.dcm", "--lateral", "b.dcm", "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["exit_code"] == 2


def test_doctor_says_what_there_is() -> None:
    done = _run("doctor", "--json")
    report = json.loads(done.stdout)
    packages = {row["package"]: row for row in report["packages"]}
    assert packages["torch"]["present"] and packages["torch"]["version"]
    assert report["devices"][0] == report["devices"][0] | {"device": "cpu", "available": True}
    assert {row["backend"] for row in report["projectors"]} == {"siddon", "tigre"}
    assert [row["model"] for row in report["models"] if row["usable"]] == ["compact"], report["models"]
    assert done.returncode == 0 and report["problems"] == []
    # Whatever can be missed leads here: every package that a command may ask for is told.
    assert {"manifold3d", "lightning", "tensorboard", "matplotlib", "pillow", "distributed"} <= set(packages)
    words = _run("doctor").stdout
    assert "Nothing is missing." in words and "siddon" in words


def test_an_interrupt_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    """SIGINT and SIGTERM in the middle of a reconstruction: exit code 130, no output folder, no traceback."""
    sample = repository / "Resources" / "SampleCase"
    for index, number in enumerate((signal.SIGINT, signal.SIGTERM)):
        out = tmp_path / f"out{index}"
        command = [
            sys.executable,
            "-m",
            "SSRKDCore",
            "reconstruct",
            "--ap",
            str(sample / "ap.dcm"),
            "--resolution",
            "512",
        ]
        command += ["--lateral", str(sample / "lateral.dcm"), "--dense", "--out", str(out)]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            # A shell's background jobs ignore SIGINT, and so would whatever they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        # Dense at 512^3 takes minutes, so that after some seconds the work is surely under way and surely not done.
        time.sleep(8)
        process.send_signal(number)
        try:
            # It stops at the next block of points, which on a busy machine may be a while away.
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()
        assert process.returncode == 130, errors
        assert "Cancelled" in errors and "Traceback" not in errors
        assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_the_letters_of_a_path_is_no_obstacle(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    missing = str(tmp_path / "Röntgen 1.dcm")
    words = ("reconstruct", "--ap", missing, "--lateral", "b.dcm", "--out", str(tmp_path / "out"))
    done = _run(*words, env=environment)
    assert done.returncode == 2 and "ntgen 1.dcm does not exist" in done.stderr
    done = _run(*words, "--json", env=environment)
    assert missing in json.loads(done.stdout)["error"]


def test_a_call_from_python_leaves_the_console_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json", "--progress-lines"]) in (0, 1)
    capsys.readouterr()
    console.say("still here")
    assert "still here" in capsys.readouterr().out
