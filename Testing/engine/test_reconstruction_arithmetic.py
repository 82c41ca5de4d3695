"""What the arithmetic of a reconstruction comes to, against counts made layer by layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction import arithmetic
from SSRKDCore.reconstruction.arithmetic import arithmetic_bound, arithmetic_rate, operation_counts


def test_classifier_and_tables_are_counted_as_matrix_products() -> None:
    counts = operation_counts(xray_config("paper"), 1000)
    # 1024, 512, 256 and 128 hidden units, 5 classes; two maps of 128 x 128 pixels with 256 features.
    assert counts["octree"] == 2 * 1000 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 5)
    assert counts["tables"] == 2 * (2 * 128 * 128) * 256 * (1024 + 512 + 256 + 128 + 5)


def test_the_encoder_is_its_convolutions_and_little_else() -> None:
    config = xray_config("compact")
    counted: list[int] = []

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        counted.append(2 * output.numel() * layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1])

    with torch.device("meta"):
        network = XrayReconstructionNetwork(config).eval()
        images = torch.empty(1, config.view_count, config.input_channels, config.input_size, config.input_size)
    for layer in network.encoders.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network.encode(images)
    # The rest is the enlargement of the hourglasses, two matrix products a level, and what joins one stack to the next.
    assert sum(counted) < operation_counts(config, 0)["encode"] < 1.1 * sum(counted)


def test_the_bound_is_operations_over_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    found = arithmetic_bound({"encode": 300, "tables": 100, "octree": 600}, 50.0)
    assert found["seconds"] == {"encode": 6.0, "tables": 2.0, "octree": 12.0, "network": 20.0}
    monkeypatch.setattr(arithmetic, "_PRODUCT", (256, 128, 64))
    monkeypatch.setattr(arithmetic, "_CONVOLUTION", (16, 8, 32))
    assert 1e6 < arithmetic_rate(torch.device("cpu"), torch.float32) < 1e14
