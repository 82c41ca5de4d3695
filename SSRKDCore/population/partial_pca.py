"""Principal components of samples that each show only a part: probabilistic PCA with missing values, fitted by EM.

x = mean + W z + noise, with z standard normal and the noise isotropic (Tipping and Bishop, J R Stat Soc B 61(3), 1999); the likelihood is
that of the values seen, and W has a Gaussian prior (Ilin and Raiko, JMLR 11, 2010, sections 3 and 4: without one, a part that few samples
show is overfitted). Samples carry weights, so that twins count as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ITERATIONS = 300
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class PartialPca:
    """Mean and modes of variation.

    Attributes
    ----------
    mean: (D,).
    modes: (q, D); rows are orthogonal, each as long as the standard deviation along it; the longest first.
    noise: standard deviation of what the modes leave, per value.
    """

    mean: Array
    modes: Array
    noise: float

    @property
    def variances(self) -> Array:
        """(q,) variance along each mode."""
        return np.asarray((self.modes**2).sum(axis=1))


@dataclass(frozen=True)
class _Group:
    """Values that the same samples show: their span holds all that EM has to know of them.

    columns: (d,) which values; samples: (n,) which samples show them; basis: (d, r) orthonormal; seen: (n, r) coordinates.
    """

    columns: NDArray[np.int64]
    samples: NDArray[np.int64]
    basis: Array
    seen: Array


def _groups(values: Array, seen: NDArray[np.bool_]) -> list[_Group]:
    patterns, which = np.unique(np.packbits(seen, axis=0), axis=1, return_inverse=True)
    groups = []
    for index in range(patterns.shape[1]):
        columns = np.flatnonzero(which.ravel() == index)
        samples = np.flatnonzero(seen[:, columns[0]])
        if not len(samples):
            raise ValueError("some value is seen in no sample")
        data = values[np.ix_(samples, columns)]
        # An orthogonal turn within the group changes neither the model nor its likelihood, and r <= n.
        _, spread, basis = np.linalg.svd(data, full_matrices=False)
        kept = spread > 1e-10 * spread[0]
        groups.append(_Group(columns, samples, basis[kept].T, data @ basis[kept].T))
    return groups


def fit_partial_pca(
    values: Array, seen: NDArray[np.bool_], weights: Array, rank: int, prior: float = 1.0
) -> PartialPca:
    """Fit by expectation maximisation.

    Parameters
    ----------
    values: (N, D); what is not seen is ignored (any finite number or NaN).
    seen: (N, D) which values count.
    weights: (N,) how many samples each one counts as.
    rank: number of modes q.
    prior: precision of the modes' Gaussian prior, in samples: a direction that less weight than this speaks for is shrunk.

    Raises ValueError when a value is seen in no sample.
    """
    weights = np.asarray(weights, dtype=np.float64)
    count, size = values.shape
    groups = _groups(values, seen)
    shown = np.zeros((count, len(groups)), dtype=bool)
    for index, group in enumerate(groups):
        shown[group.samples, index] = True
    patterns, which = np.unique(shown, axis=0, return_inverse=True)
    which = which.ravel()

    latent = _first_latents(groups, weights, count, rank)
    second = np.zeros((len(patterns), rank, rank))
    total = float(sum(weights[group.samples].sum() * len(group.columns) for group in groups))
    noise = np.inf
    for _ in range(_ITERATIONS):
        modes, means = _modes(groups, weights, latent, second, which, rank, prior)
        inner = [mode.T @ mode for mode in modes]
        error = 0.0
        for group, mode, mean, product in zip(groups, modes, means, inner, strict=True):
            residual = group.seen - mean - latent[group.samples] @ mode.T
            error += float(weights[group.samples] @ (residual**2).sum(axis=1))
            traces = np.einsum("kij,ji->k", second, product)[which[group.samples]]
            error += float(weights[group.samples] @ traces)
        previous, noise = noise, error / total
        if previous - noise < _TOLERANCE * noise and np.isfinite(previous):
            break
        for index, pattern in enumerate(patterns):
            chosen = [g for g in range(len(groups)) if pattern[g]]
            members = np.flatnonzero(which == index)
            precision = noise * np.eye(rank) + sum(inner[g] for g in chosen)
            right = np.zeros((rank, len(members)))
            for g in chosen:
                rows = np.searchsorted(groups[g].samples, members)
                right += modes[g].T @ (groups[g].seen[rows] - means[g]).T
            inverse = np.linalg.inv(precision)
            latent[members] = (inverse @ right).T
            second[index] = noise * inverse
    return _ordered(groups, modes, means, latent, second, which, weights, size, float(np.sqrt(noise)))


def _first_latents(groups: list[_Group], weights: Array, count: int, rank: int) -> Array:
    """Where EM starts: components of the samples, with the mean where a sample shows nothing."""
    filled = [np.zeros((count, 0))]
    for group in groups:
        w = weights[group.samples]
        block = np.zeros((count, group.seen.shape[1]))
        block[group.samples] = group.seen - (w @ group.seen) / w.sum()
        filled.append(block)
    data = np.concatenate(filled, axis=1) * np.sqrt(weights)[:, None]
    u, _, _ = np.linalg.svd(data, full_matrices=False)
    latent = np.zeros((count, rank))
    usable = min(rank, u.shape[1])
    latent[:, :usable] = u[:, :usable] / np.sqrt(weights)[:, None] * np.sqrt(weights.sum())
    return latent


def _modes(
    groups: list[_Group],
    weights: Array,
    latent: Array,
    second: Array,
    which: NDArray[np.int64],
    rank: int,
    prior: float,
) -> tuple[list[Array], list[Array]]:
    """The M step: most probable modes (r, q) and mean (r,) of each group."""
    modes: list[Array] = []
    means: list[Array] = []
    ridge = np.append(np.full(rank, prior), 0.0)
    for group in groups:
        w = weights[group.samples]
        design = np.append(latent[group.samples], np.ones((len(w), 1)), axis=1)
        moment = design.T @ (w[:, None] * design) + np.diag(ridge)
        for index in np.unique(which[group.samples]):
            moment[:rank, :rank] += w[which[group.samples] == index].sum() * second[index]
        solution: Array = np.linalg.solve(moment, design.T @ (w[:, None] * group.seen)).astype(np.float64)
        modes.append(solution[:rank].T)
        means.append(solution[rank])
    return modes, means


def _ordered(
    groups: list[_Group],
    modes: list[Array],
    means: list[Array],
    latent: Array,
    second: Array,
    which: NDArray[np.int64],
    weights: Array,
    size: int,
    noise: float,
) -> PartialPca:
    """The fit as orthogonal modes of the whole vector.

    The latents are brought to the mean and covariance that their posterior has over the samples, which the prior on the modes
    keeps from being exactly standard normal.
    """
    share = weights / weights.sum()
    middle = share @ latent
    spread = (latent - middle).T @ (share[:, None] * (latent - middle)) + np.einsum("n,nij->ij", share, second[which])
    root = np.linalg.cholesky(spread + 1e-9 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    mean, whole = np.zeros(size), np.zeros((size, latent.shape[1]))
    for group, mode, offset in zip(groups, modes, means, strict=True):
        mean[group.columns] = group.basis @ (offset + mode @ middle)
        whole[group.columns] = group.basis @ (mode @ root)
    values, vectors = np.linalg.eigh(whole.T @ whole)
    order = np.argsort(values)[::-1]
    ordered = (whole @ vectors[:, order]).T
    kept = (ordered**2).sum(axis=1) > 1e-8 * (ordered[0] ** 2).sum()
    return PartialPca(mean, ordered[kept], noise)
