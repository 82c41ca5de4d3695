"""Progress of a search for a pose, which ends wherever it is told once somebody has cancelled."""

from __future__ import annotations

from collections.abc import Callable

from SSRKDCore.errors import Cancelled

#: Receives a fraction 0..1 and words.
Tell = Callable[[float, str], None]


def stoppable(progress: Tell | None, cancelled: Callable[[], bool] | None) -> Tell:
    """Tells `progress`, if there is one; raises Cancelled instead as soon as `cancelled` says so."""

    def tell(fraction: float, words: str) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("The calibration was cancelled.")
        if progress is not None:
            progress(fraction, words)

    return tell


def part(tell: Tell, first: float, last: float) -> Tell:
    """Tells a part of the work, whose fractions 0..1 are `first` to `last` of the whole."""
    return lambda fraction, words: tell(first + (last - first) * fraction, words)


def with_words(tell: Tell, words: str) -> Callable[[float], None]:
    """Tells fractions with the same words."""
    return lambda fraction: tell(fraction, words)
