"""Words for people on stdout, progress on stderr; both silent when the caller wants JSON.

A program that runs us asks for progress lines instead of the bar: one JSON object a line on stderr,
`{"progress": 0 to 1, "words": "..."}`.

Words that cannot be delivered (`ssrkd ... | head`, a closed stderr, a full disk under a log) never end the work that they tell of: the work
goes on in silence, and whoever ends the program asks `undelivered` what became of stdout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_quiet = False
_progress_lines = False
_undelivered: OSError | None = None


def set_quiet(quiet: bool) -> None:
    """Silence `say` and the progress bar (used by --json)."""
    global _quiet
    _quiet = quiet


def set_progress_lines(wanted: bool) -> None:
    """Write progress as JSON lines on stderr instead of drawing a bar (used by --progress-lines)."""
    global _progress_lines
    _progress_lines = wanted


def say(text: str) -> None:
    """Print one line for a person, unless --json was asked for."""
    if not _quiet:
        answer(f"{text}\n")


def answer(text: str) -> None:
    """Write to stdout as it is, whatever was asked for; silent where nobody takes it, see `undelivered`."""
    global _undelivered
    _undelivered = _delivered(sys.stdout, text) or _undelivered


def complain(text: str) -> None:
    """Write a line to stderr; silent where nobody takes it."""
    _delivered(sys.stderr, f"{text}\n")


def undelivered() -> OSError | None:
    """Why something of what was written to stdout since the last call did not arrive, once all has been sent; None where all did."""
    global _undelivered
    answer("")
    complaint, _undelivered = _undelivered, None
    _delivered(sys.stderr, "")
    return complaint


def _delivered(stream: TextIO | None, text: str) -> OSError | None:
    """Write and send; gives back what went wrong. A program that was started without the stream has None for it."""
    if stream is None:
        return None
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _discard(stream)
        return error
    return None


def _discard(stream: TextIO) -> None:
    """Send what the stream still holds, and all that follows, to nowhere: Python would fail on it once more when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


@contextmanager
def progress_bar(description: str = "") -> Iterator[Callable[[float, str], None]]:
    """Give a callback `(fraction 0..1, words)` that draws a progress bar on stderr.

    On a terminal it is redrawn; elsewhere (logs, pipes) it stays silent apart from the final line.
    """
    if _progress_lines:
        yield _progress_line
        return
    if _quiet or sys.stderr is None:
        yield lambda fraction, words: None
        return
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    with tqdm(total=1.0, desc=description, bar_format=layout, file=sys.stderr, disable=not sys.stderr.isatty()) as bar:

        def show(fraction: float, words: str) -> None:
            bar.n = min(max(fraction, 0.0), 1.0)
            bar.set_postfix_str(words, refresh=False)
            bar.refresh()

        yield show
        bar.n = 1.0
        bar.refresh()


def _progress_line(fraction: float, words: str) -> None:
    complain(json.dumps({"progress": round(min(max(fraction, 0.0), 1.0), 4), "words": words}))
