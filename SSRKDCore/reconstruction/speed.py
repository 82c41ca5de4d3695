"""How long one reconstruction takes from standardised images on, by stage, on one device, in each precision and search.

The turns of all of them alternate, so that whatever else the machine does meets them alike; every stage begins and
ends with the device idle, and the first turns, in which libraries choose their kernels, do not count.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.process_memory import give_back_freed_memory
from SSRKDCore.reconstruction.arithmetic import arithmetic_bound, arithmetic_rate, operation_counts
from SSRKDCore.reconstruction.benchmark import peak_memory_bytes, reset_peak_memory
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
from SSRKDCore.reconstruction.devices import synchronise
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.reconstruction.octree import evaluate_sparse
from SSRKDCore.reconstruction.precision import DEFAULT_PRECISION, choose_precision
from SSRKDCore.reconstruction.sampler import PointSampler
from SSRKDCore.surface import Surface

#: The stages up to the labels and logits of the grid, and those after them, in order.
NETWORK_STAGES = ("encode", "tables", "octree")
SURFACE_STAGES = ("components", "surfaces")

Progress = Callable[[float, str], None]


class StageClock:
    """Seconds by stage of one turn, the device idle at both ends of each."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside, under this name."""
        synchronise(self.device)
        start = time.perf_counter()
        yield
        synchronise(self.device)
        self.seconds[name] = time.perf_counter() - start


@dataclass(frozen=True)
class Way:
    """A way of computing a reconstruction: precision (see `precision`), and by how many mm its search lets the surface be off
    where it interpolates (see `octree.evaluate_sparse`; 0 evaluates).
    """

    precision: str
    tolerance_mm: float = 0.0

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.precision}, within {self.tolerance_mm:g} mm" if self.tolerance_mm else self.precision


@dataclass(frozen=True)
class _Scene:
    """What is reconstructed: the synthetic knee of `benchmark_phantom`."""

    network: XrayReconstructionNetwork
    images: Tensor
    silhouettes: list[NDArray[np.float32]]
    views: tuple[View, ...]
    field_of_view: FieldOfView
    grid: Grid


@dataclass(frozen=True)
class _Result:
    """What one reconstruction found."""

    occupancy: SparseOccupancy
    surfaces: dict[str, Surface]


@dataclass(frozen=True)
class _Cost:
    """The times of one reconstruction by stage, and the most memory that it held."""

    seconds: dict[str, float]
    memory: int | None


def measure_speed(
    architecture: str,
    resolution: int,
    device: torch.device,
    precisions: Sequence[str],
    repeats: int = 5,
    warm_up: int = 1,
    progress: Progress | None = None,
    tolerance_mm: float | None = None,
) -> dict[str, Any]:
    """Measure one architecture ("paper", "published" or "compact") with a synthetic knee (see `benchmark_phantom`).

    Parameters
    ----------
    resolution: samples along each side of the cube.
    device: where the network runs.
    precisions: names of `precision.PRECISIONS`; float32, with which the others are compared, is always measured.
    repeats, warm_up: turns of each precision that count, and turns before them that do not.
    progress: receives a fraction 0..1 and words.
    tolerance_mm: measure every precision with a search of this tolerance as well; None does not.

    Returns JSON-able figures: what it ran on, with the load average of the machine before and after, and by precision
    (`Way.name`) the seconds by stage ("network" is all up to the labels, "total" the surfaces as well; median, lowest and highest of
    the repeats), the median ratio of "network" to float32 in the same turn, the labels that differ from float32 (count
    and share of all), the largest distance in mm between its surfaces and those of float32, and the largest of the bones'
    means (exact, symmetric), the peak memory (of the device; of the process on a CPU), and what the arithmetic alone takes at the rate that
    the machine reached before or after the turns (see `arithmetic`).

    Raises InputError for a precision that the device does not have.
    """
    tell = progress or (lambda fraction, words: None)
    names = dict.fromkeys((DEFAULT_PRECISION, *precisions))
    types = {name: choose_precision(name, device) for name in names}
    tolerances = [0.0] if tolerance_mm is None else [0.0, tolerance_mm]
    ways = [Way(name, tolerance) for tolerance in tolerances for name in names]
    tell(0.0, f"{architecture}: setting up")
    give_back_freed_memory()
    scene = _scene(architecture, resolution, device)
    load_before = _load_average()
    rates = {name: arithmetic_rate(device, precision) for name, precision in types.items()}
    costs: dict[Way, list[_Cost]] = {way: [] for way in ways}
    results: dict[Way, _Result] = {}
    for number in range(warm_up + repeats):
        for way in ways:
            which = "warm-up" if number < warm_up else f"turn {number - warm_up + 1}"
            tell(0.05 + 0.75 * number / (warm_up + repeats), f"{architecture} in {way.name}: {which}")
            # The one before goes first: a reconstruction in use finds no memory full of others either.
            results.pop(way, None)
            results[way], cost = _turn(scene, device, types[way.precision], way.tolerance_mm)
            if number >= warm_up:
                costs[way].append(cost)
    rates = {name: max(rate, arithmetic_rate(device, types[name])) for name, rate in rates.items()}
    load_after = _load_average()
    tell(0.8, f"{architecture}: comparing the precisions")
    exact = Way(DEFAULT_PRECISION)
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "warm_up": warm_up,
        "repeats": repeats,
        "load_average": {"before": load_before, "after": load_after},
        "precisions": {
            way.name: {
                "precision": way.precision,
                "surface_tolerance_mm": way.tolerance_mm,
                **_times(costs[way], costs[exact]),
                "evaluated_points": result.occupancy.evaluated,
                **_differences(result, results[exact]),
                "arithmetic_bound": arithmetic_bound(
                    operation_counts(scene.network.config, result.occupancy.evaluated), rates[way.precision]
                ),
            }
            for way, result in results.items()
        },
    }


def _scene(architecture: str, resolution: int, device: torch.device) -> _Scene:
    config = xray_config(architecture)
    views, field_of_view = phantom_views(config)
    silhouettes = [silhouette_depths(view, config.feature_map_size, field_of_view) for view in views]
    images = phantom_images(config, silhouettes)
    network = phantom_network(config)
    # The same weights on every device: the knee is written where all devices compute alike.
    shape_field(network, encode_images(network, images, torch.device("cpu")))
    grid = Grid.cube(field_of_view.center, field_of_view.size, resolution)
    return _Scene(network.to(device), images, silhouettes, views, field_of_view, grid)


def _turn(scene: _Scene, device: torch.device, precision: torch.dtype, tolerance_mm: float) -> tuple[_Result, _Cost]:
    clock, grid = StageClock(device), scene.grid
    _forget_peak(device)
    with clock.stage("encode"):
        features = encode_images(scene.network, scene.images, device, precision)
    # The knee is put into the feature maps between two stages: no part of either.
    features = with_silhouettes(features, scene.silhouettes)
    with clock.stage("tables"):
        sampler = PointSampler(scene.network, features, scene.views, scene.field_of_view)
    with clock.stage("octree"):
        occupancy = evaluate_sparse(
            sampler.field(grid),
            grid.shape[0],
            device=sampler.point_device,
            tolerance=tolerance_mm / min(grid.spacing),
        )
    with clock.stage("components"):
        labels, _ = keep_one_piece(occupancy.labels)
    with clock.stage("surfaces"):
        surfaces = bone_surfaces(occupancy, labels, grid)
    seconds = dict(clock.seconds)
    seconds["network"] = sum(seconds[name] for name in NETWORK_STAGES)
    seconds["total"] = seconds["network"] + sum(seconds[name] for name in SURFACE_STAGES)
    return _Result(occupancy, surfaces), _Cost(seconds, _peak(device))


def _times(turns: list[_Cost], reference: list[_Cost]) -> dict[str, Any]:
    by_stage = {name: [turn.seconds[name] for turn in turns] for name in turns[0].seconds}
    ratios = [turn.seconds["network"] / exact.seconds["network"] for turn, exact in zip(turns, reference, strict=True)]
    memory = [turn.memory for turn in turns if turn.memory is not None]
    return {
        "seconds": {
            name: {"median": float(np.median(values)), "lowest": min(values), "highest": max(values)}
            for name, values in by_stage.items()
        },
        "ratio_to_float32": float(np.median(ratios)),
        "peak_memory_bytes": max(memory) if memory else None,
    }


def _differences(turn: _Result, exact: _Result) -> dict[str, Any]:
    """Labels that differ, and the largest and mean distances between the surfaces (None where only one has a bone)."""
    differing = int(np.count_nonzero(turn.occupancy.labels != exact.occupancy.labels))
    largest: float | None = 0.0
    mean: float | None = 0.0
    for name, surface in turn.surfaces.items():
        other = exact.surfaces[name]
        if surface.is_empty != other.is_empty:
            largest = mean = None
            break
        if not surface.is_empty and turn is not exact and largest is not None and mean is not None:
            found = surface_distances(surface, other)
            largest, mean = max(largest, found.hd), max(mean, found.assd)
    return {
        "labels_differing": differing,
        "labels_differing_share": differing / turn.occupancy.labels.size,
        "largest_displacement_mm": largest,
        "mean_displacement_mm": mean,
    }


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_peak_memory()


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory_bytes()


def _load_average() -> float | None:
    """Programs that were running or waiting for a core over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
