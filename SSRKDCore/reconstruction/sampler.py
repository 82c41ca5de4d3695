"""Logits of the reconstruction network at points in millimetres, from feature tables: exact, and several times
cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.networks.point_classifier import NEGATIVE_SLOPE
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.feature_tables import FeatureTables, feature_tables
from SSRKDCore.reconstruction.field_evaluation import LogitField

#: Points that pass the classifier at once: small enough that their hidden features stay in a CPU's cache.
CPU_BLOCK = 2048
ACCELERATOR_BLOCK = 65536
#: Points that are projected at once.
_PROJECTION_BLOCK = 131072


def feature_map_projection(view: View, map_size: tuple[int, int], align_corners: bool) -> NDArray[np.float64]:
    """(3, 4) matrix: (x, y, z, 1) in mm -> (row * w, column * w, w) in pixels of the view's feature map, centres at
    integers.

    `align_corners` is the network's sampling convention, see `XrayNetworkConfig.sampling`.
    """
    matrix = view.projection_matrix.copy()
    for axis, (image, features) in enumerate(zip((view.rows, view.columns), map_size, strict=True)):
        # Normalised coordinate n = (pixel + 0.5) * 2 / image - 1; map pixel (n + 1) / 2 * (features - 1), or (n + 1) /
        # 2 * features - 0.5.
        scale = (features - 1 if align_corners else features) / image
        shift = 0.5 * scale - (0.0 if align_corners else 0.5)
        matrix[axis] = scale * matrix[axis] + shift * matrix[2]
    return matrix


class PointSampler:
    """The network's logits at any point, from tables that are computed once.

    Equal to `network.query` at the projections of the points, up to rounding (1e-4 in the logits of float32 feature
    maps). With bfloat16 maps the hidden layers and what they take of the maps compute in that; projections, depths and
    last layer are float32.

    Parameters
    ----------
    network: in eval mode, on the device of the feature maps.
    view_features: feature map [1, F, h, w] of every view, as `network.encode` gives them.
    views: the views of the input images (`NetworkInput.views`).
    field_of_view: origin and scale of the depth inputs.
    block_points: points that pass the classifier at once; by default what suits the device.
    tables: those of another sampler of the same network and feature maps; None computes them.

    `point_device` is where points are projected, in float64: the device of the feature maps, or the CPU for MPS, which
    lacks that type.
    """

    def __init__(
        self,
        network: XrayReconstructionNetwork,
        view_features: list[Tensor],
        views: Sequence[View],
        field_of_view: FieldOfView,
        block_points: int | None = None,
        tables: FeatureTables | None = None,
    ) -> None:
        config = network.config
        if len(views) != config.view_count or len(view_features) != config.view_count:
            raise ValueError(
                f"the network has {config.view_count} views, not {len(views)} ({len(view_features)} feature maps)"
            )
        self.tables: FeatureTables = tables or feature_tables(network.classifier, view_features, config.depth_per_view)
        self.device = view_features[0].device
        self.class_count = config.class_count
        self.block_points = block_points or (CPU_BLOCK if self.device.type == "cpu" else ACCELERATOR_BLOCK)
        self.point_device = torch.device("cpu") if self.device.type == "mps" else self.device
        matrices = [
            feature_map_projection(view, size, config.align_corners)
            for view, size in zip(views, self.tables.map_sizes, strict=True)
        ]
        self._projections = torch.tensor(np.stack(matrices), dtype=torch.float64, device=self.point_device)
        center = np.array(field_of_view.center)
        depths = [float(view.projection_matrix[2, :3] @ center + view.projection_matrix[2, 3]) for view in views]
        self._center_depths = depths
        self._half_size = field_of_view.size / 2

    def logits(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Logits (N, classes) float32 at points (N, 3) in mm, from and to the host."""
        given = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float64))
        return self.logits_at(given.to(self.point_device)).cpu().numpy()

    @torch.inference_mode()
    def logits_at(self, points: Tensor) -> Tensor:
        """Logits [N, classes] float32 at points [N, 3] float64 in mm, both on `point_device`."""
        result = torch.empty((len(points), self.class_count), device=self.point_device)
        for start in range(0, len(points), _PROJECTION_BLOCK):
            part = points[start : start + _PROJECTION_BLOCK]
            rows, weights = self._bags(part)
            for first in range(0, len(part), self.block_points):
                block = slice(first, min(first + self.block_points, len(part)))
                result[start + block.start : start + block.stop] = self._classify(rows[block], weights[block])
        return result

    def field(self, grid: Grid) -> LogitField:
        """The logits at the samples of a grid, for `octree.evaluate_sparse` with `point_device` as its device."""
        origin, spacing = (
            torch.tensor(values, dtype=torch.float64, device=self.point_device)
            for values in (grid.origin, grid.spacing)
        )

        def logits(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
            # Product and sum are rounded one after the other, as in `Grid.points`.
            return self.logits_at(torch.stack([x, y, z], dim=1).double() * spacing + origin)

        return logits

    def _bags(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Table rows [N, K] (int32) and their weights [N, K] (float32): four pixels a view, the depths, what the tables' precision
        rounds away of these, the bias.
        """
        count, tables = len(points), self.tables
        view_count = len(tables.map_sizes)
        taps = 4 * view_count
        depths = view_count if tables.has_depth else 0
        remainders = depths if tables.precision != torch.float32 else 0
        width = taps + depths + remainders + 1
        rows = torch.empty((count, width), dtype=torch.int32, device=points.device)
        weights = torch.empty((count, width), dtype=torch.float32, device=points.device)
        for view, (first_row, (map_rows, map_columns)) in enumerate(
            zip(tables.first_rows, tables.map_sizes, strict=True)
        ):
            matrix = self._projections[view]
            homogeneous = torch.addmm(matrix[:, 3], points, matrix[:, :3].t())
            depth = homogeneous[:, 2]
            position = homogeneous[:, :2] / depth[:, None]
            # Far outside the map all weights vanish anyway; the limits keep the integers small.
            position = torch.nan_to_num(position, nan=-2.0).clamp_(min=-2.0, max=max(map_rows, map_columns) + 1.0)
            corner = position.floor()
            fraction = position - corner
            corner = corner.to(torch.int32)
            row, column = corner[:, 0], corner[:, 1]
            in_front = depth > 0
            row_parts = self._axis_taps(row, fraction[:, 0], map_rows)
            column_parts = self._axis_taps(column, fraction[:, 1], map_columns)
            tap = 4 * view
            for tap_row, row_weight in row_parts:
                base = tap_row * map_columns + first_row
                row_weight = row_weight * in_front
                for tap_column, column_weight in column_parts:
                    torch.add(base, tap_column, out=rows[:, tap])
                    weights[:, tap] = row_weight * column_weight
                    tap += 1
            if depths:
                rows[:, taps + view] = tables.first_depth_row + view
                weights[:, taps + view] = (depth - self._center_depths[view]) / self._half_size
        if remainders:
            # A rounded depth would be off by up to a third of a millimetre: what is rounded away is a tap of its own.
            exact = weights[:, taps : taps + depths]
            rows[:, taps + depths : -1] = rows[:, taps : taps + depths]
            weights[:, taps + depths : -1] = exact - exact.to(tables.precision).float()
            weights[:, taps : taps + depths] = exact.to(tables.precision)
        rows[:, -1] = tables.bias_row
        weights[:, -1] = 1.0
        return rows.to(self.device), weights.to(self.device)

    @staticmethod
    def _axis_taps(first: Tensor, fraction: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The two taps of linear interpolation along one axis, (index, weight) each; weight 0 outside the map."""
        second = first + 1
        return (
            (first.clamp(0, size - 1), (1.0 - fraction) * ((first >= 0) & (first < size))),
            (second.clamp(0, size - 1), fraction * ((second >= 0) & (second < size))),
        )

    def _classify(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Logits [N, classes] of the points with these table rows and weights."""
        tables = self.tables
        skips = _weighted_sums(tables.rows, rows, weights.to(tables.precision)).split(tables.widths, dim=1)
        hidden = skips[0]
        for weight, skip in zip(tables.hidden_weights[:-1], skips[1:], strict=True):
            hidden = torch.addmm(skip, functional.leaky_relu_(hidden, NEGATIVE_SLOPE), weight)
        last = _weighted_sums(tables.last_rows, rows, weights)
        return last.addmm_(functional.leaky_relu_(hidden.to(last.dtype), NEGATIVE_SLOPE), tables.hidden_weights[-1])


@torch.inference_mode()
def logits_of_each(samplers: Sequence[PointSampler], points: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """Logits (N, classes) at points (N, 3) in mm of each of several samplers with the same tables: few points together pass the classifier
    faster than each sampler's by themselves.
    """
    first = samplers[0]
    given = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float64)).to(first.point_device)
    bags = [sampler._bags(given) for sampler in samplers]
    # A point's places of all samplers side by side: they read about the same pixels.
    rows, weights = (torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*bags, strict=True))
    blocks = zip(rows.split(first.block_points), weights.split(first.block_points), strict=True)
    answers = torch.cat([first._classify(*block) for block in blocks]).cpu().numpy()
    return [np.ascontiguousarray(answers[number :: len(samplers)]) for number in range(len(samplers))]


def _weighted_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """[N, C]: for each of N points the sum of the table's rows [N, K] times the weights [N, K]."""
    if table.device.type == "mps":  # no embedding bag with weights there
        return torch.bmm(weights[:, None, :], table[rows.long()])[:, 0]
    return functional.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
