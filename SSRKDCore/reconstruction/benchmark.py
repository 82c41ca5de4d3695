"""How fast and how exact the reconstruction is, against the path of the published code, on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from SSRKDCore.anatomy import BONES
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.networks.point_classifier import NEGATIVE_SLOPE
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.process_memory import give_back_freed_memory
from SSRKDCore.reconstruction.benchmark_phantom import (
    phantom_images,
    phantom_network,
    phantom_views,
    shape_field,
    silhouette_depths,
    with_silhouettes,
)
from SSRKDCore.reconstruction.bone_surfaces import bone_surfaces
from SSRKDCore.reconstruction.components import keep_one_piece
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.reconstruction.octree import evaluate_sparse
from SSRKDCore.reconstruction.sampler import PointSampler

#: Points per call of the network in the published code.
NAIVE_BLOCK = 50_000
#: Points of the slice from which the naive time is extrapolated, and how often everything is measured in turn.
NAIVE_SLICE = 100_000
REPETITIONS = 3
#: Logits may differ by this much from the network's own; labels are not compared where the two best logits are closer.
LOGIT_TOLERANCE = 1e-4
_CHECKED_POINTS = 20_000
_DENSE_BLOCK = 262_144

Progress = Callable[[float, str], None]


def benchmark(
    architecture: str, resolution: int = 256, full_naive: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure one architecture ("paper", "published" or "compact") with a synthetic knee (see `benchmark_phantom`).

    The fast path (encoder, tables, octree, one piece a bone, surfaces) and a slice of the naive one (numpy projection,
    the classifier layer by layer as released, blocks of 50,000 points) take turns; the best time of each counts. The
    naive path is one dense pass a bone, as in the published code, extrapolated from the slice unless `full_naive`. The
    speedup is that of everything up to the logits; surfaces come on top of both paths. The labels are compared with a
    dense evaluation of every sample by the tables, and with the network's plain query on random samples and samples
    near surfaces.

    Returns JSON-able figures: "speedup", "labels_identical", "max_logit_difference", "peak_memory_bytes" (of the
    process during the fast path), "seconds" by stage, and what they rest on.
    """
    tell = progress or (lambda fraction, words: None)
    config = xray_config(architecture)
    views, field_of_view = phantom_views(config)
    grid = Grid.cube(field_of_view.center, field_of_view.size, resolution)
    silhouettes = [silhouette_depths(view, config.feature_map_size, field_of_view) for view in views]
    images = phantom_images(config, silhouettes)
    network = phantom_network(config)
    cpu = torch.device("cpu")
    tell(0.0, f"{architecture}: warming up")
    shape_field(network, encode_images(network, images, cpu))

    give_back_freed_memory()
    reset_peak_memory()
    stages: dict[str, list[float]] = {}
    naive_times, peak = [], None
    for repetition in range(REPETITIONS):
        tell(0.05 + 0.1 * repetition, f"{architecture}: fast and naive path, turn {repetition + 1}")
        # The knee is put into the feature maps between two stages: no part of either path.
        features = _timed(stages, "encode", lambda: encode_images(network, images, cpu))
        features = with_silhouettes(features, silhouettes)
        planes = [feature_map.contiguous() for feature_map in features]  # as the released code has them
        sampler = _timed(stages, "tables", lambda f=features: PointSampler(network, f, views, field_of_view))  # type: ignore[misc]

        occupancy = _timed(stages, "octree", lambda s=sampler: evaluate_sparse(s.field(grid), resolution))  # type: ignore[misc]
        labels, _ = _timed(stages, "components", lambda o=occupancy: keep_one_piece(o.labels))  # type: ignore[misc]
        surfaces = _timed(stages, "surfaces", lambda o=occupancy, k=labels: bone_surfaces(o, k, grid))  # type: ignore[misc]
        if peak is None:
            peak = peak_memory_bytes()
        naive_times.append(_naive_slice(network, planes, views, field_of_view, grid))

    seconds = {name: min(values) for name, values in stages.items()}
    # The naive path ends with the logits; pieces and surfaces come on top of both.
    fast = seconds["encode"] + seconds["tables"] + seconds["octree"]
    passes, count = len(BONES), resolution**3
    if full_naive:
        tell(0.4, f"{architecture}: the whole naive path")
        naive_pass = _naive(network, planes, views, field_of_view, grid, 0, count)
    else:
        naive_pass = min(naive_times) * count / min(NAIVE_SLICE, count)
    naive = seconds["encode"] + passes * naive_pass

    tell(0.5, f"{architecture}: dense evaluation of every sample")
    wrong, ties = _dense_differences(
        sampler, occupancy, grid, lambda share: tell(0.5 + 0.45 * share, f"{architecture}: dense")
    )
    difference, wrong_plain = _plain_differences(network, features, views, field_of_view, sampler, occupancy, grid)
    tell(1.0, f"{architecture}: done")
    return {
        "architecture": architecture,
        "resolution": resolution,
        "threads": torch.get_num_threads(),
        "speedup": naive / fast,
        "labels_identical": wrong == 0 and wrong_plain == 0,
        "labels_differing": wrong + wrong_plain,
        "labels_differing_within_rounding": ties,
        "max_logit_difference": difference,
        "peak_memory_bytes": peak,
        "seconds": {**seconds, "total": sum(seconds.values())},
        "fast_seconds": fast,
        "naive_seconds": naive,
        "naive_extrapolated": not full_naive,
        "naive_points_measured": count if full_naive else min(NAIVE_SLICE, count),
        "evaluated_points": occupancy.evaluated,
        "evaluated_share": occupancy.evaluated / count,
        "triangles": {name: len(surface.faces) for name, surface in surfaces.items()},
    }


def _timed(stages: dict[str, list[float]], name: str, job: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = job()
    stages.setdefault(name, []).append(time.perf_counter() - start)
    return result


def plain_query(
    network: XrayReconstructionNetwork,
    features: list[Tensor],
    views: tuple[View, ...],
    field_of_view: FieldOfView,
    points: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Logits (N, classes) at points (N, 3) in mm by projection in numpy and the network's own query."""
    coordinates, depths = _projected(network, views, field_of_view, points)
    with torch.inference_mode():
        return network.query(features, coordinates, depths)[0].t().numpy()


def _projected(
    network: XrayReconstructionNetwork, views: tuple[View, ...], field_of_view: FieldOfView, points: NDArray[np.float64]
) -> tuple[Tensor, Tensor | None]:
    """Normalised coordinates [1, V, N, 2] and, where the network takes them, depths [1, V, N] of points (N, 3) in mm."""
    center = np.array(field_of_view.center)
    coordinates, depths = [], []
    for view in views:
        pixels, depth = view.project(points)
        coordinates.append(normalised_coordinates(pixels, view.rows, view.columns))
        depths.append((depth - view.project(center)[1]) / (field_of_view.size / 2))
    return (
        torch.from_numpy(np.stack(coordinates)[None].astype(np.float32)),
        torch.from_numpy(np.stack(depths)[None].astype(np.float32)) if network.config.depth_per_view else None,
    )


def _published_query(
    network: XrayReconstructionNetwork, features: list[Tensor], coordinates: Tensor, depths: Tensor | None
) -> Tensor:
    """Logits [1, classes, N] computed as the released code does: layer by layer, the point features concatenated."""
    point_features = network.point_features(features, coordinates, depths)
    layers = list(network.classifier.layers)
    hidden = layers[0](point_features)
    for layer in layers[1:]:
        hidden = layer(torch.cat([functional.leaky_relu(hidden, NEGATIVE_SLOPE), point_features], dim=1))
    return hidden


def _naive(
    network: XrayReconstructionNetwork,
    features: list[Tensor],
    views: tuple[View, ...],
    field_of_view: FieldOfView,
    grid: Grid,
    first: int,
    count: int,
) -> float:
    """Seconds of the naive path over `count` samples of the grid from the flat index `first` on."""
    start = time.perf_counter()
    with torch.inference_mode():
        for begin in range(first, first + count, NAIVE_BLOCK):
            z, y, x = np.unravel_index(np.arange(begin, min(begin + NAIVE_BLOCK, first + count)), grid.shape)
            coordinates, depths = _projected(network, views, field_of_view, grid.points(z, y, x))
            _published_query(network, features, coordinates, depths).argmax(dim=1).numpy()
    return time.perf_counter() - start


def _naive_slice(
    network: XrayReconstructionNetwork,
    features: list[Tensor],
    views: tuple[View, ...],
    field_of_view: FieldOfView,
    grid: Grid,
) -> float:
    total = int(np.prod(grid.shape))
    count = min(NAIVE_SLICE, total)
    return _naive(network, features, views, field_of_view, grid, (total - count) // 2, count)


def _dense_differences(
    sampler: PointSampler, occupancy: SparseOccupancy, grid: Grid, tell: Callable[[float], None]
) -> tuple[int, int]:
    """Labels that differ from the dense evaluation: (beyond, within) rounding of a tie."""
    labels = occupancy.labels.reshape(-1)
    wrong = ties = 0
    for start in range(0, labels.size, _DENSE_BLOCK):
        tell(start / labels.size)
        stop = min(start + _DENSE_BLOCK, labels.size)
        logits = sampler.logits(grid.points(*np.unravel_index(np.arange(start, stop), grid.shape)))
        beyond, within = _differing(logits, labels[start:stop])
        wrong, ties = wrong + beyond, ties + within
    return wrong, ties


def _differing(logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> tuple[int, int]:
    different = np.flatnonzero(logits.argmax(axis=1) != labels)
    chosen = np.take_along_axis(logits[different], labels[different, None].astype(np.int64), axis=1)[:, 0]
    tie = logits[different].max(axis=1) - chosen < LOGIT_TOLERANCE
    return int(np.count_nonzero(~tie)), int(np.count_nonzero(tie))


def _plain_differences(
    network: XrayReconstructionNetwork,
    features: list[Tensor],
    views: tuple[View, ...],
    field_of_view: FieldOfView,
    sampler: PointSampler,
    occupancy: SparseOccupancy,
    grid: Grid,
) -> tuple[float, int]:
    """Largest difference of logits from the network's own, and labels that differ from its, on random and near-surface
    samples.
    """
    generator = np.random.default_rng(0)
    labels = occupancy.labels.reshape(-1)
    near = np.flatnonzero(occupancy.slots)
    chosen = [
        generator.integers(0, labels.size, _CHECKED_POINTS),
        generator.choice(near, min(_CHECKED_POINTS, len(near)), replace=False),
    ]
    difference, wrong = 0.0, 0
    for flat in chosen:
        points = grid.points(*np.unravel_index(flat, grid.shape))
        plain = plain_query(network, features, views, field_of_view, points)
        difference = max(difference, float(np.abs(plain - sampler.logits(points)).max()))
        rows = occupancy.rows(flat)
        kept = np.flatnonzero(rows >= 0)
        if len(kept):
            difference = max(difference, float(np.abs(plain[kept] - occupancy.logits[rows[kept]]).max()))
        wrong += _differing(plain, labels[flat])[0]
    return difference, wrong


def reset_peak_memory() -> None:
    """Start measuring the peak anew, where the system can (Linux)."""
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")
    except OSError:
        return


def peak_memory_bytes() -> int | None:
    """Largest resident memory of this process since `reset_peak_memory` (or its start); None where the system does not
    tell.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
