"""Words for people on stdout, progress on stderr; both silent when the caller wants JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence `say` and the progress bar (used by --json)."""
    global _quiet
    _quiet = quiet


def say(text: str) -> None:
    """Print one line for a person, unless --json was asked for."""
    if not _quiet:
        print(text, flush=True)


@contextmanager
def progress_bar(description: str = "") -> Iterator[Callable[[float, str], None]]:
    """Give a callback `(fraction 0..1, words)` that draws a progress bar on stderr.

    On a terminal it is redrawn; elsewhere (logs, pipes) it stays silent apart from the final line.
    """
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
