"""What the programs of this package share: arguments, and how they end (one sentence and exit code 2 for bad input, 130 when stopped)."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from SSRKDCore import cli, console
from SSRKDCore.errors import Cancelled, InputError


def exit_code_of(name: str, job: Callable[[], object], resumable: bool = True) -> int:
    """Run a job that goes on where it was stopped, or with `resumable` False begins anew; returns the exit code of the program `name`."""
    try:
        job()
    except InputError as error:
        console.complain(f"{name}: {error}")
        return cli.EXIT_BAD_INPUT
    except (Cancelled, KeyboardInterrupt):
        words = "the same command goes on from here" if resumable else "nothing was written"
        console.complain(f"{name}: stopped; {words}.")
        return cli.EXIT_CANCELLED
    return cli.EXIT_OK


def positive_number(text: str) -> int:
    """A whole number from 1 on, as the `type` of an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
