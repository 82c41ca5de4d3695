"""Which code made a result, and when: for the records of models and measurements."""

from __future__ import annotations

import datetime
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def commit() -> str:
    """The short hash of the checkout's commit, with "+changes" where files differ from it; "unknown" outside a checkout."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=7", "--exclude=*", "--dirty=+changes"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def command_of(module: str, words: Sequence[str] | None = None) -> str:
    """`python -m MODULE WORDS`, as a shell takes it. words: the program's arguments, None for those of this process."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if words is None else words)])


def made_by(command: str) -> dict[str, str]:
    """What a file of measurements says of where its figures come from: `command`, `commit` and `date`."""
    return {"command": command, "commit": commit(), "date": today()}


def today() -> str:
    """The date, UTC, YYYY-MM-DD."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
