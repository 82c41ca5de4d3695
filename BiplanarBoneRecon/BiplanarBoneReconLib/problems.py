"""What went wrong, in one sentence that says what to do."""

from __future__ import annotations


class Problem(Exception):
    """Something that the user can put right. `details` (a log) is shown on demand."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class Cancelled(Problem):
    """The user stopped the engine; nothing to put right."""
