"""Who sees what under which code, in which order."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.reader_study.shown_bones import VERSIONS

_READER_NAME = re.compile(r"[^\W_][\w-]{0,39}")
_TRIES = 10_000


@dataclass(frozen=True)
class CodedModel:
    """One page of a reader's questionnaire.

    Attributes
    ----------
    code: eight hexadecimal digits, random, another for each reader.
    case: the case's id.
    version: one of VERSIONS.
    """

    code: str
    case: str
    version: str


def new_seed() -> int:
    """A seed that nobody can guess: with the seed and this program a reader could tell the codes' meaning."""
    return secrets.randbits(63)


def reader_names(given: Sequence[str]) -> list[str]:
    """Names of the readers from a number ("3": reader1 to reader3) or from the names themselves.

    Raises InputError for none, more than 100, names that are alike, or that make no folder's name.
    """
    if len(given) == 1 and given[0].isdecimal():
        count = int(given[0])
        if not 1 <= count <= 100:
            raise InputError(f"{count} readers were asked for: use a number from 1 to 100, or their names.")
        return [f"reader{index + 1}" for index in range(count)]
    for name in given:
        if not _READER_NAME.fullmatch(name):
            raise InputError(
                f"The reader's name {name!r} cannot be used: take up to 40 letters, digits, - and _, a letter or digit first."
            )
    if not given or len({name.casefold() for name in given}) < len(given):
        raise InputError("Two readers have the same name, or there is none: give each reader another name.")
    return list(given)


def coded_models(cases: Sequence[str], seed: int, reader: int) -> list[CodedModel]:
    """Both versions of every case under new codes, in the order in which a reader gets them.

    Depends on the cases, the seed and the reader's number alone. The two versions of a case are never neighbours where
    that is possible (from two cases on); every such order is equally likely.
    """
    generator = np.random.default_rng([seed, reader])
    pages = [(case, version) for case in cases for version in VERSIONS]
    order = generator.permutation(len(pages))
    for _ in range(_TRIES):
        if len(cases) < 2 or all(pages[a][0] != pages[b][0] for a, b in pairwise(order)):
            break
        order = generator.permutation(len(pages))
    codes: list[str] = []
    while len(codes) < len(pages):
        code = generator.bytes(4).hex()
        if code not in codes:
            codes.append(code)
    return [CodedModel(code, *pages[index]) for code, index in zip(codes, order, strict=True)]
