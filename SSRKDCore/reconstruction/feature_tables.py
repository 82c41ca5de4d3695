"""The point classifier's linear part, moved from the points onto the feature maps.

Everything a layer of the point classifier takes from the pixel-aligned features is linear in them, and so is bilinear
interpolation: the two commute. The weights that act on the features (of all layers at once, skip inputs included) are
applied to every pixel of the feature maps once; a point then needs the weighted sum of a few table rows instead of the
products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from SSRKDCore.networks.point_classifier import LayerParts, PointClassifier


@dataclass(frozen=True)
class FeatureTables:
    """Outputs of the feature parts of all layers, for every pixel of every view.

    Attributes
    ----------
    rows: [V*h*w + V (with depth inputs) + 1, C] in `precision`, for all layers but the last. First the pixels of view 0,
        row by row, then those of view 1, ...; then one row a depth input (the weights of that depth); last the biases. C
        is the summed width of these layers.
    last_rows: [as many, classes] float32, the same for the last layer.
    widths: outputs of every layer but the last, in order; their sum is C.
    hidden_weights: for every layer after the first, [in, out]: the transposed weights on the hidden features, in
        `precision`, but the last layer's in float32.
    map_sizes: (h, w) of the feature map of every view.
    has_depth: whether the classifier takes a depth per view.
    precision: type of the factors of the hidden layers' products.
    """

    rows: Tensor
    last_rows: Tensor
    widths: tuple[int, ...]
    hidden_weights: tuple[Tensor, ...]
    map_sizes: tuple[tuple[int, int], ...]
    has_depth: bool
    precision: torch.dtype

    @property
    def first_rows(self) -> tuple[int, ...]:
        """Where the rows of each view begin."""
        starts = [0]
        for height, width in self.map_sizes:
            starts.append(starts[-1] + height * width)
        return tuple(starts[:-1])

    @property
    def first_depth_row(self) -> int:
        """Where the rows of the depth inputs begin (the bias row, without depth inputs)."""
        return sum(height * width for height, width in self.map_sizes)

    @property
    def bias_row(self) -> int:
        """The last row."""
        return self.rows.shape[0] - 1


@torch.inference_mode()
def feature_tables(classifier: PointClassifier, view_features: list[Tensor], has_depth: bool) -> FeatureTables:
    """Push the classifier's weights onto the feature maps.

    Parameters
    ----------
    classifier: the point classifier; its features are those of view 0, view 1, ..., then the depths in view 0, view 1,
        ...
    view_features: feature map [1, F, h, w] of every view, on the device on which the tables shall live. Their type is
        that of the products' factors.
    has_depth: whether the features end with one depth a view.
    """
    parts = classifier.layer_parts()
    precision = view_features[0].dtype
    map_sizes = tuple((int(features.shape[2]), int(features.shape[3])) for features in view_features)
    pixels = [features[0].permute(1, 2, 0).flatten(0, 1) for features in view_features]
    # The last layer is small, and its rounding would be that of the logits.
    rows = _rows(parts[:-1], pixels, has_depth, precision)
    last_rows = _rows(parts[-1:], [of_view.float() for of_view in pixels], has_depth, torch.float32)
    widths = tuple(part.feature_weight.shape[0] for part in parts[:-1])
    hidden = [part.hidden_weight.t().contiguous() for part in parts if part.hidden_weight is not None]
    hidden_weights = (*(weight.to(precision) for weight in hidden[:-1]), *hidden[-1:])
    return FeatureTables(rows, last_rows, widths, hidden_weights, map_sizes, has_depth, precision)


def _rows(parts: Sequence[LayerParts], pixels: list[Tensor], has_depth: bool, precision: torch.dtype) -> Tensor:
    """What some layers take of the features: a row for each of the pixels [h*w, F] of every view, each depth, the biases."""
    weights = torch.cat([part.feature_weight for part in parts]).t()  # [features, C]
    first_depth_row = sum(len(of_view) for of_view in pixels)
    rows = weights.new_empty(
        (first_depth_row + (len(pixels) if has_depth else 0) + 1, weights.shape[1]), dtype=precision
    )
    row, column = 0, 0
    for of_view in pixels:
        count, features = of_view.shape
        factors = weights[column : column + features].to(precision)
        torch.mm(of_view, factors, out=rows[row : row + count])
        row += count
        column += features
    rows[first_depth_row:-1] = weights[column:]
    rows[-1] = torch.cat([part.bias for part in parts])
    return rows
