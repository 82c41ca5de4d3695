"""The two ways in which a job ends early on purpose."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one sentence: what is wrong, and what to do."""


class Cancelled(Exception):
    """The user asked a long job to stop; nothing was written."""
