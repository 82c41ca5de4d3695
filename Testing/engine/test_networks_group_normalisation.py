"""Group normalisation: the values and the gradient of torch's own."""

import pytest
import torch
from torch.nn import functional

from SSRKDCore.networks.group_normalisation import GroupNormalisation


def _layer(channels: int, groups: int, dtype: torch.dtype) -> GroupNormalisation:
    layer = GroupNormalisation(groups, channels)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(channels, generator=generator))
        layer.bias.copy_(torch.randn(channels, generator=generator))
    return layer.to(dtype)


def _image(channels: int, dtype: torch.dtype) -> torch.Tensor:
    values = torch.randn(2, channels, 6, 10, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.7
    return values.to(dtype).to(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("groups", [1, 4, 12])
def test_gradient_is_that_of_finite_differences(groups: int) -> None:
    layer, image = _layer(12, groups, torch.float64), _image(12, torch.float64)

    def normalised(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(normalised, (image, layer.weight, layer.bias))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 4e-2)])
def test_values_and_gradient_agree_with_torch(dtype: torch.dtype, tolerance: float) -> None:
    """bfloat16 keeps 8 bits: single steps of rounding at values up to 5 are 0.03, and both sides take a few of them."""
    layer, image = _layer(16, 8, dtype), _image(16, dtype)
    slope = torch.randn(image.shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    ours = layer(image)
    ours.backward(slope)
    found = [image.grad, layer.weight.grad, layer.bias.grad]
    exact = [tensor.detach().double().requires_grad_() for tensor in (image, layer.weight, layer.bias)]
    theirs = functional.group_norm(exact[0], 8, exact[1], exact[2])
    theirs.backward(slope.double())
    torch.testing.assert_close(ours.double(), theirs, atol=tolerance, rtol=tolerance)
    for mine, yours in zip(found, exact, strict=True):
        assert mine is not None and yours.grad is not None
        torch.testing.assert_close(mine.double(), yours.grad, atol=tolerance, rtol=tolerance)


def test_other_memory_formats_go_torchs_own_way() -> None:
    layer, image = _layer(8, 2, torch.float32), torch.randn(1, 8, 4, 4)
    assert torch.equal(layer(image), functional.group_norm(image, 2, layer.weight, layer.bias))
