"""`ssrkd`: one subcommand a job, each a thin call of the engine."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from SSRKDCore import __version__, console
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.json_files import to_json_text
from SSRKDCore.output_folder import check_nothing_read_inside

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_CANCELLED = 130
#: What a shell knows a program by that was writing when its reader went away (128 and the number of SIGPIPE).
EXIT_UNREAD = 141

# The disk, or a folder that was named, is at fault; the last two where a file has that name.
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST)

# Help lines stand here, so that `ssrkd --help` loads no command.
COMMANDS: dict[str, str] = {
    "reconstruct": "two radiographs -> femur, tibia, fibula and patella surfaces",
    "inspect": "read two radiographs and say, and write, what is understood of them",
    "outlines": "where the edges of reconstructed bones fall on the radiographs",
    "compare": "distances between a reconstruction and a reference",
    "measure": "landmarks, alignment, slope and patellar height of bones",
    "plan-hto": "plan a high tibial osteotomy and correct the tibia",
    "guide": "a printable cutting guide from a planned osteotomy",
    "simulate-guide": "seat a guide on the reference bone: contact, stability, cut and correction error",
    "evaluate": "reconstruct a folder of cases and measure the error of each",
    "experiment": "repeat one of the paper's figures, or a test beyond them, on given cases",
    "report": "gather evaluations and experiments into one page that opens without a network",
    "reader-study": "blinded questionnaires for readers as offline web pages, and their scores",
    "radiograph": "simulate the radiographs of a CT volume or of a leg's surfaces",
    "shape-model": "bone surfaces -> statistical shape model of the whole knee, with its quality",
    "population": "make synthetic cases from a shape model: CT, true bones, rig and radiographs",
    "prepare": "make a case of your own CT, with or without a segmentation",
    "train": "cases -> segmenter, CT teacher or X-ray student",
    "finetune": "a model goes on learning from a site's own radiographs, compared before and after",
    "style": "train, or apply, a network that gives real radiographs the look of simulated ones",
    "style-reference": "measure grey values and fineness of training samples, for --match-style",
    "export": "write bone surfaces for other programs, with a check of each mesh",
    "calibrate": "measure the geometry of a room: ball, ruler, calibration object, or the two images",
    "rig": "make, convert or explain a rig.json",
    "import-weights": "turn a released .pth checkpoint into a model folder",
    "demo": "run the main job on the bundled sample",
    "bench": "measure the sampler against the published way of evaluation",
    "doctor": "say what this installation can do and what is missing",
}


#: Commands whose unfinished work is kept.
RESUMABLE = ("population", "train", "finetune", "style", "evaluate", "experiment")


def _module(name: str) -> str:
    return f"SSRKDCore.commands.{name.replace('-', '_')}"


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the arguments of `command` are loaded, the other subcommands have their help line alone."""
    parser = argparse.ArgumentParser(
        prog="ssrkd",
        description="Femur, tibia, fibula and patella in millimetres from two knee radiographs. Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"ssrkd {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_line in COMMANDS.items():
        sub = subparsers.add_parser(name, help=help_line, description=help_line[0].upper() + help_line[1:] + ".")
        _add_common(sub)
        if name == command:
            importlib.import_module(_module(name)).add_arguments(sub)
            # A command of several jobs takes them after the job as well as before it.
            for job in _jobs(sub):
                _add_common(job, default=argparse.SUPPRESS)
    return parser


def _add_common(parser: argparse.ArgumentParser, default: bool | str = False) -> None:
    """What every command takes."""
    for option, words in (
        ("--json", "print the result as JSON on stdout, and nothing else"),
        ("--progress-lines", "write progress as JSON lines on stderr"),
    ):
        parser.add_argument(option, action="store_true", default=default, help=words)


def _jobs(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of a command's jobs; none where it has one job only."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [job for action in actions for job in action.choices.values()]


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand: that of the shell's words, or, called from Python, of `arguments`.

    Returns the exit code: 0 done, 1 a check or the program failed, 2 bad input (one sentence on stderr), 130 cancelled, and for a shell 141
    where all was done and what reads stdout (`| head`) went away before it was told all.
    """
    if arguments is not None:
        return _main(list(arguments))
    try:
        return _told(_main(sys.argv[1:]))
    except SystemExit as end:  # Help, or words that make no command.
        raise SystemExit(_told(end.code if isinstance(end.code, int) else EXIT_OK)) from None


def _told(code: int) -> int:
    """The exit code of a program that ends with `code`, once it is known whether its words arrived."""
    lost = console.undelivered()
    if lost is None or code != EXIT_OK:
        return code
    if isinstance(lost, BrokenPipeError):
        return EXIT_UNREAD
    console.complain(f"ssrkd: What was to be said could not be written ({lost.strerror}): free some space.")
    return EXIT_BAD_INPUT


def _main(arguments: list[str]) -> int:
    command = next((word for word in arguments if word in COMMANDS), None)
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal's encoding lacks is written with escapes; it must not end the job.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parsed = build_parser(command).parse_args(arguments)
    console.set_quiet(parsed.json)
    console.set_progress_lines(parsed.progress_lines)
    # Outside the main thread Python refuses handlers, and whoever runs us there stops us in another way.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _stop)
    try:
        return _run(parsed)
    finally:
        # Whoever calls us from Python may print after us.
        console.set_quiet(False)
        console.set_progress_lines(False)


def _run(parsed: argparse.Namespace) -> int:
    try:
        _check_inputs_stay(parsed)
        result = importlib.import_module(_module(parsed.command)).run(parsed)
    except InputError as error:
        return _failed(parsed.json, str(error), EXIT_BAD_INPUT)
    except (KeyboardInterrupt, Cancelled):
        words = (
            "Stopped; what was finished is kept, and the same command goes on from there."
            if parsed.command in RESUMABLE
            else "Cancelled; nothing was written."
        )
        return _failed(parsed.json, words, EXIT_CANCELLED)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("SSRKDCore"):
            raise
        return _failed(
            parsed.json,
            f"The Python package '{error.name}' is missing: run `ssrkd doctor` to see how to get it.",
            EXIT_FAILED,
        )
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        return _failed(
            parsed.json,
            f"{error.filename or 'A file'} cannot be written ({error.strerror}): free some space or choose another folder.",
            EXIT_BAD_INPUT,
        )
    code = int(result.pop("exit_code", EXIT_OK))
    if parsed.json:
        console.answer(to_json_text(result, ascii_only=True))
    return code


def _check_inputs_stay(parsed: argparse.Namespace) -> None:
    """Refuse, before any work, to replace a folder in which something lies that the command names."""
    if getattr(parsed, "overwrite", False) and getattr(parsed, "out", None):
        named = [value for name, value in vars(parsed).items() if name not in ("out", "command")]
        words = [word for value in named for word in (value if isinstance(value, list) else [value])]
        check_nothing_read_inside(parsed.out, [word for word in words if isinstance(word, (str, Path))])


def _failed(json: bool, message: str, code: int) -> int:
    console.complain(f"ssrkd: {message}")
    if json:
        console.answer(to_json_text({"error": message, "exit_code": code}, ascii_only=True))
    return code


if __name__ == "__main__":
    sys.exit(main())
