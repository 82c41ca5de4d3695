"""One step of a rigid body with unilateral contacts: the smallest departure from a wanted step that opens no gap below zero.

    minimise 1/2 |x - wanted|^2   subject to   rows x >= lowest

with six unknowns and many constraints, by the dual active set method of Goldfarb and Idnani (Mathematical Programming 27, 1983). The
multipliers are the contact forces.

With `wanted` far down a slope g, x also solves the linear programme of the smallest g . x under the same constraints, where that has an
end (proximal point method: Rockafellar, SIAM J Control Optim 14(5), 1976), some hundred times faster than a general solver does.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_VIOLATION = 1e-7
_DEPENDENT = 1e-10
_MOST_ROUNDS = 2000


def contact_step(wanted: Array, rows: Array, lowest: Array) -> tuple[Array, bool]:
    """The step x (6,) and whether one exists.

    Parameters
    ----------
    wanted: (6,) step without contacts.
    rows: (N, 6) change of each gap with the step.
    lowest: (N,) smallest change allowed, minus the gap.
    """
    if len(rows) == 0:
        return wanted.copy(), True
    return _goldfarb_idnani(np.ascontiguousarray(wanted), np.ascontiguousarray(rows), np.ascontiguousarray(lowest))


@numba.njit(cache=True)
def _goldfarb_idnani(wanted, rows, lowest):  # type: ignore[no-untyped-def]
    x = wanted.copy()
    active = np.zeros(6, dtype=np.int64)
    force = np.zeros(6)
    count = 0
    for _ in range(_MOST_ROUNDS):
        slack = rows @ x - lowest
        entering = int(np.argmin(slack))
        if slack[entering] >= -_VIOLATION:
            return x, True
        normal = rows[entering].copy()
        entering_force = 0.0
        for _ in range(20):
            reaction = np.zeros(count)
            free = normal.copy()
            if count:
                basis = np.empty((count, 6))
                for j in range(count):
                    basis[j] = rows[active[j]]
                reaction = np.linalg.solve(basis @ basis.T, basis @ normal)
                free = normal - basis.T @ reaction
            dual_step, leaving = np.inf, -1
            for j in range(count):
                if reaction[j] > 1e-12 and force[j] / reaction[j] < dual_step:
                    dual_step, leaving = force[j] / reaction[j], j
            squared = free @ free
            primal_step = np.inf
            if count < 6 and squared > _DEPENDENT * (normal @ normal):
                primal_step = -(rows[entering] @ x - lowest[entering]) / squared
            step = min(dual_step, primal_step)
            if step == np.inf:
                return x, False
            if primal_step < np.inf:
                x = x + step * free
            for j in range(count):
                force[j] -= step * reaction[j]
            entering_force += step
            if primal_step <= dual_step:
                active[count], force[count] = entering, entering_force
                count += 1
                break
            for j in range(leaving, count - 1):
                active[j], force[j] = active[j + 1], force[j + 1]
            count -= 1
    return x, False
