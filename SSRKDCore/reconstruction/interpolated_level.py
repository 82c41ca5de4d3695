"""One step of a coarse-to-fine search that interpolates where this moves the surface by less than a tolerance.

Interpolation between the samples of a grid is off by a quarter as much on the grid of half the spacing where the field is smooth, and by
half as much along a crease. How far it was off is seen at every sample that is evaluated; from there follows what to
expect of the samples around it on the next grid, and, with the slope of the field, by how much the surface would move.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from SSRKDCore.reconstruction.field_evaluation import FieldEvaluation
from SSRKDCore.reconstruction.grid_level import (
    ALL_NEIGHBOURS,
    FACE_NEIGHBOURS,
    GridLevel,
    margin,
    mixed_cells,
    over_corners,
)
from SSRKDCore.reconstruction.large_arrays import zeros

#: What is left of an interpolation's error when the spacing is halved: of a crease, the slower of both.
_LEFT_OF_ERROR = 0.5


@dataclass(frozen=True)
class _Guess:
    """Samples without logits and what interpolation says of them: flat positions (N,), rising, logits (N, classes), and
    the margin (N,) of the largest logit.
    """

    flat: Tensor
    logits: Tensor
    margin: Tensor

    @classmethod
    def of(cls, coarse: GridLevel, fine: GridLevel, cells: Tensor, evaluation: FieldEvaluation) -> _Guess:
        """The unknown fine samples in cells of a coarse level whose corners are known, and labels them so."""
        flat = fine.unknown_samples_in(cells, coarse)
        samples, kept = evaluation.kept()
        logits = coarse.interpolated(coarse.rows(samples), kept, fine, flat)
        labels = logits.argmax(dim=1).to(torch.uint8)
        fine.labels.view(-1)[flat] = labels
        return cls(flat, logits, margin(logits, labels))

    def places(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Where positions (M,) are among the guessed ones, and whether they are there."""
        if not len(self.flat):
            return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.flat, wanted).clamp_max_(len(self.flat) - 1)
        return place, self.flat[place] == wanted

    def evaluated(
        self, fine: GridLevel, wanted: Tensor, evaluation: FieldEvaluation, share: tuple[float, float], words: str
    ) -> Tensor:
        """Evaluate positions (M,), and give by how much the margin of the guessed class was off, 0 where none was guessed."""
        before = fine.labels.view(-1)[wanted]
        true_margin = margin(evaluation.evaluate(fine, wanted, share, words), before)
        place, guessed = self.places(wanted)
        return torch.where(guessed, (true_margin - self.margin[place]).abs_(), 0.0)


@dataclass(frozen=True)
class InterpolatedLevel:
    """A level of the search and how far interpolation onto it was off.

    Attributes
    ----------
    level: all corners of its mixed cells have logits, evaluated or interpolated.
    deviation: (n, n, n) float32, of the margin, where samples were evaluated; what was expected where they were not; 0 elsewhere.
    """

    level: GridLevel
    deviation: Tensor

    @classmethod
    def first(
        cls,
        coarse: GridLevel,
        fine: GridLevel,
        cells: Tensor,
        evaluation: FieldEvaluation,
        share: tuple[float, float],
        last: bool,
        words: str,
    ) -> InterpolatedLevel:
        """From a level that is known at all samples: evaluates, in the chosen cells, the corners of mixed cells (on the
        finest level the ends of edges with a change), and what interpolation could have mislabelled by the largest error
        that it shows.
        """
        offsets = FACE_NEIGHBOURS if last else ALL_NEIGHBOURS
        guess = _Guess.of(coarse, fine, cells, evaluation)
        deviation = torch.zeros_like(fine.labels, dtype=torch.float32)
        error = torch.zeros((), device=fine.device)
        wanted = fine.unknown_across(guess.flat, offsets)
        while len(wanted):
            off = guess.evaluated(fine, wanted, evaluation, share, words)
            deviation.view(-1)[wanted] = off
            error = torch.maximum(error, off.max())
            doubtful = ~fine.known.view(-1)[guess.flat] & (guess.margin < error)
            wanted = fine.unknown_across(wanted, offsets, torch.where(doubtful, guess.flat, fine.count**3))
            share = (share[1], share[1])  # what follows is small
        return cls(fine, deviation)

    def finer(
        self,
        fine: GridLevel,
        evaluation: FieldEvaluation,
        tolerance: float,
        share: tuple[float, float],
        last: bool,
        words: str,
    ) -> InterpolatedLevel:
        """The next level: evaluated where the surface is expected to be off by more than `tolerance`, in spacings of the
        finest grid; and around every sample that was, whatever was expected.
        """
        offsets = FACE_NEIGHBOURS if last else ALL_NEIGHBOURS
        guess = _Guess.of(self.level, fine, mixed_cells(self.level.labels), evaluation)
        deviation = zeros((0 if last else fine.count**3,), torch.float32, fine.device)
        expected = self._expected(fine, guess.flat)
        ends = fine.unknown_across(guess.flat, offsets)
        place, guessed = guess.places(ends)
        concerned = guess.margin < expected
        concerned[place] |= guessed
        # What the surface's place allows: the margin's change over the tolerance.
        slopes = _slopes(fine, guess, concerned, evaluation)
        allowed = slopes.mul_(tolerance / fine.stride)
        wanted = torch.cat([guess.flat[concerned & (expected > allowed)], ends[~guessed]]).sort().values
        changed = [wanted[:0]]
        while len(wanted):
            guessed_labels = fine.labels.view(-1)[wanted]
            off = guess.evaluated(fine, wanted, evaluation, share, words)
            share = (share[1], share[1])  # what follows is small
            if not last:
                deviation[wanted] = off
            changed.append(wanted[fine.labels.view(-1)[wanted] != guessed_labels])
            place, guessed = guess.places(wanted)
            around = fine.unknown_around(wanted[guessed & (off > allowed[place])])
            place, guessed = guess.places(around)
            wanted = around[guessed & fine.beside_change(around, offsets)]
            if not len(wanted):
                further = fine.unknown_across(torch.cat(changed), offsets)
                _, guessed = guess.places(further)
                wanted, changed = further[~guessed], [further[:0]]
                if guessed.any():
                    ends = torch.cat([ends, further[guessed]]).unique()
        rest = ends[~fine.known.view(-1)[ends]]
        place, _ = guess.places(rest)
        evaluation.keep(fine, rest, guess.logits[place])
        if not last:
            deviation[rest] = expected[place]
        return InterpolatedLevel(fine, deviation)

    def _expected(self, fine: GridLevel, flat: Tensor) -> Tensor:
        """(N,): by how much the margin interpolated at fine samples is expected to be off."""
        largest = over_corners(self.deviation.view(self.level.labels.shape), torch.maximum).contiguous()
        z, y, x = self.level.cell(fine, flat)
        return _LEFT_OF_ERROR * largest.view(-1)[(z * largest.shape[1] + y) * largest.shape[2] + x]


def _slopes(fine: GridLevel, guess: _Guess, concerned: Tensor, evaluation: FieldEvaluation) -> Tensor:
    """(N,): the largest change of the margin from guessed samples to a known or guessed one beside them, across a change of label
    the sum of both; 0 where there is none, and where (N,) `concerned` says that nobody asks.
    """
    samples, logits = evaluation.kept()
    known = fine.positions(samples)
    places = torch.cat([guess.flat, known])
    values = torch.cat([guess.margin, margin(logits, fine.labels.view(-1)[known])])
    flat, own_margin = guess.flat[concerned], guess.margin[concerned]
    area, planes = fine.count**2, fine.planes_together
    if planes == fine.count:
        # On a GPU all at once: how many lie in which planes, the host would have to wait for.
        margins = zeros((planes * area,), torch.float32, fine.device)
        margins[places] = values
        steepest = _steepest(fine, flat, own_margin, margins, 0)
    else:
        # Some planes at a time, and one on either side: what is looked up stays in the cache, and little memory is cleared.
        margins = zeros(((planes + 2) * area,), torch.float32, fine.device)
        steepest = torch.zeros_like(own_margin)
        for first in range(0, fine.count, planes):
            low, high = max(first - 1, 0) * area, min(first + planes + 1, fine.count) * area
            inside = torch.nonzero((places >= low) & (places < high))[:, 0]
            here = places[inside] - low
            margins[here] = values[inside]
            begin, end = torch.searchsorted(flat, torch.tensor([first * area, (first + planes) * area])).tolist()
            steepest[begin:end] = _steepest(fine, flat[begin:end], own_margin[begin:end], margins, low)
            margins[here] = 0.0
    return torch.zeros_like(guess.margin).masked_scatter_(concerned, steepest)


def _steepest(fine: GridLevel, flat: Tensor, own_margin: Tensor, margins: Tensor, low: int) -> Tensor:
    """(N,): the largest change of the margin from samples of a level to those beside them. `margins` are those of the level's flat
    positions from `low` on; none is negative, each being that of the largest logit, and 0 stands for none.
    """
    labels = fine.labels.view(-1)
    own = labels[flat]
    steepest = torch.zeros_like(own_margin)
    # Beyond the grid's end stands the sample itself: no change.
    for neighbour in fine.neighbours(flat, FACE_NEIGHBOURS):
        other = margins[neighbour - low]
        change = torch.where(labels[neighbour] == own, (other - own_margin).abs_(), other + own_margin)
        steepest = torch.maximum(steepest, torch.where(other > 0, change, 0.0))
    return steepest
