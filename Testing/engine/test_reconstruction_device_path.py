"""What a GPU would be given, as far as a machine without one can tell: no array leaves the device on the way.

Tensors on "meta" have shapes and no values: whatever asks for a value, or meets a tensor of the host, fails there. The
search needs values, so on the CPU every way from a tensor to the host is counted instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from SSRKDCore.grid import Grid
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.benchmark_phantom import phantom_views
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.reconstruction.octree import evaluate_dense, evaluate_sparse
from SSRKDCore.reconstruction.precision import exact_convolutions
from SSRKDCore.reconstruction.sampler import PointSampler

META = torch.device("meta")


@pytest.mark.parametrize("architecture", ["published", "paper"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_from_images_to_logits_nothing_is_asked_of_the_host(architecture: str, precision: torch.dtype) -> None:
    config = xray_config(architecture)
    views, field_of_view = phantom_views(config)
    with META:
        network = XrayReconstructionNetwork(config).eval()
        images = torch.empty(1, config.view_count, config.input_channels, config.input_size, config.input_size)
        index = torch.empty(200_000, dtype=torch.int64)
    features = encode_images(network, images, META, precision)
    sampler = PointSampler(network, features, views, field_of_view)
    logits = sampler.field(Grid.cube(field_of_view.center, field_of_view.size, 256))(index, index, index)
    assert (sampler.point_device, logits.device, sampler.tables.rows.device) == (META, META, META)
    assert (tuple(logits.shape), logits.dtype) == ((200_000, config.class_count), torch.float32)


def _balls(resolution: int):  # type: ignore[no-untyped-def]
    """Two balls that touch, as tensors all the way."""
    centers = torch.tensor([[0.4, 0.5, 0.45], [0.62, 0.5, 0.6]]) * resolution
    radii = torch.tensor([0.2, 0.12]) * resolution

    def field(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        points = torch.stack([z, y, x], dim=1).float()
        depths = radii - torch.linalg.vector_norm(points[:, None] - centers, dim=2)
        outside = torch.zeros(len(points), 1)
        return torch.cat([outside, depths, outside - 50, outside - 50], dim=1)

    return field


class _Waiting(TorchDispatchMode):
    """Counts the operations whose result's size or value the host must wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            part is not None and part.dtype in (torch.bool, torch.uint8) for part in args[1]
        )
        if by_mask or name in ("nonzero", "_local_scalar_dense", "masked_select", "_unique2", "equal"):
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


def _counted(monkeypatch: pytest.MonkeyPatch, search: Callable[[], SparseOccupancy]) -> tuple[SparseOccupancy, Counter]:
    """What a search finds, and how often it brought something to the host, by the way it took."""
    brought: Counter[str] = Counter()
    for name in ("cpu", "numpy", "item", "tolist", "__array__", "__bool__", "__int__", "__float__", "__index__"):
        original = getattr(Tensor, name)

        def counted(self: Tensor, *args: Any, name: str = name, original: Any = original, **kwargs: Any) -> Any:
            brought[name] += 1
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, counted)
    with _Waiting() as waiting:
        found = search()
    monkeypatch.undo()
    return found, brought + waiting.count


def test_the_search_waits_for_the_device_a_few_times_and_brings_three_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    found, brought = _counted(monkeypatch, lambda: evaluate_sparse(_balls(160), 160))
    assert (found.labels == 1).sum() > 50_000 and (found.labels == 2).sum() > 10_000
    # Positions of the kept samples, labels and logits, at the end.
    assert brought.pop("cpu") == brought.pop("numpy") == 3
    # How many samples come next: twice for each turn of each of three levels.
    assert set(brought) == {"nonzero", "index"}
    assert brought.total() <= 24


def test_dense_evaluation_brings_three_arrays_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found, brought = _counted(monkeypatch, lambda: evaluate_dense(_balls(64), 64))
    assert (found.labels == 1).sum() > 5000
    assert brought == {"cpu": 3, "numpy": 3, "nonzero": 1}


def test_what_is_forgotten_on_the_host_is_noticed() -> None:
    """The check itself must be able to fail."""
    config = xray_config("compact")
    views, field_of_view = phantom_views(config)
    with META:
        network = XrayReconstructionNetwork(config).eval()
        features = [torch.empty(1, config.features, 8, 8) for _ in range(config.view_count)]
        points = torch.empty(10, 3, dtype=torch.float64)
    sampler = PointSampler(network, features, views, field_of_view)
    assert sampler.logits_at(points).device == META
    sampler._projections = torch.zeros(config.view_count, 3, 4, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="meta"):
        sampler.logits_at(points)


def test_float32_convolutions_stay_float32() -> None:
    """cuDNN's TensorFloat-32 is torch's default for convolutions; it would pass for float32."""
    before = (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
    with exact_convolutions():
        assert torch.backends.cudnn.allow_tf32 is False
        assert (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark) == before[:2]
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == before
