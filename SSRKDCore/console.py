"""Words for people on stdout, progress on stderr; both silent when the caller wants JSON.

A program that runs us asks for progress lines instead of the bar: one JSON object a line on stderr,
`{"progress": 0 to 1, "words": "..."}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_quiet = False
_progress_lines = False


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
        print(text, flush=True)


@contextmanager
def progress_bar(description: str = "") -> Iterator[Callable[[float, str], None]]:
    """Give a callback `(fraction 0..1, words)` that draws a progress bar on stderr.

    On a terminal it is redrawn; elsewhere (logs, pipes) it stays silent apart from the final line.
    """
    if _progress_lines:
        yield _progress_line
        return
    if _quiet:
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
    line = json.dumps({"progress": round(min(max(fraction, 0.0), 1.0), 4), "words": words})
    print(line, file=sys.stderr, flush=True)
