"""A network that tells by how much two views of a knee disagree in scale and height.

Both images come as rows that show the same slices if the views' geometry is right (`geometry.epipolar_rows`). One encoder, the same for
both, describes each row; descriptions of one view, moved by a scale and a shift, are compared with the other's, which gives a likelihood of
each scale and shift. It is matching by learnt descriptors, as of stereo pairs (J. Zbontar and Y. LeCun, "Stereo matching by training a
convolutional neural network to compare image patches", J. Mach. Learn. Res. 17, 2016), of whole rows instead of patches, since only the
height of a row is common to two views.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Scales and shifts (mm) that are compared. Upwards positive, see `trust.view_scales`.
SCALES = torch.linspace(-0.14, 0.14, 57)
SHIFTS_MM = torch.linspace(-8.0, 8.0, 33)
_SMALL = 1e-4
#: Standard deviations in mm of the blurs that part an image into its local mean, and its local contrast.
_MEAN_MM, _CONTRAST_MM = 6.0, 12.0
_LEAST_CONTRAST = 0.1
_WIDEST = 4.0
# A wide blur needs no fine copy: of so many pixels one along each side.
_COARSER = 4
# Channels of the convolutions over the image; weighted means over a row and their channels; channels along the height, of a description.
_WIDTHS = (12, 20, 32)
_HEADS, _HEAD_CHANNELS = 4, 16
_HIDDEN, _DESCRIBED = 64, 24
_NORM_GROUPS = 4


class HeightMatcher(nn.Module):
    """Rows of two views (N, H, W), NaN where there is no image, 1 mm apart -> log-likelihoods (N, S, T), up to a constant.

    Of the scales SCALES and shifts SHIFTS_MM by which the second view's rows lie at h (1 + scale) + shift where the first view's lie at h.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.image = nn.Sequential(
            _convolution(3, first, 5, 2),
            _convolution(first, second, 3, 2),
            _convolution(second, third, 3, 2),
            _convolution(third, third, 3, 1, 2),
            _convolution(third, third, 3, 1, 4),
        )
        self.attention = nn.Conv2d(third, _HEADS, 1)
        self.values = nn.Conv2d(third, _HEADS * _HEAD_CHANNELS, 1)
        self.heights = nn.Sequential(
            nn.Conv1d(_HEADS * _HEAD_CHANNELS + third, _HIDDEN, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(_HIDDEN, _HIDDEN, 5, padding=4, dilation=2),
            nn.ReLU(),
            nn.Conv1d(_HIDDEN, _DESCRIBED, 3, padding=1),
        )
        self.log_gain = nn.Parameter(torch.zeros(()))

    def described(self, rows: Tensor) -> Tensor:
        """(N, D, H) descriptions of the rows of images (N, H, W)."""
        found = self.image(seen_channels(rows))
        weights = self.attention(found).softmax(dim=3)
        count, _, height, width = found.shape
        values = self.values(found).view(count, -1, _HEAD_CHANNELS, height, width)
        means = (values * weights[:, :, None]).sum(dim=4).reshape(count, -1, height)
        described: Tensor = self.heights(torch.cat([means, found.mean(dim=3)], dim=1))
        return described

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        described = self.described(torch.cat([first, second]))
        ours, theirs = described.chunk(2)
        alike = torch.einsum("ndh,ndk->nhk", ours, theirs) / described.shape[1] ** 0.5
        return torch.exp(self.log_gain) / 10.0 * summed_along(alike)


def _convolution(before: int, after: int, size: int, stride: int, dilation: int = 1) -> nn.Sequential:
    """Convolution, normalisation, ReLU; stride across the rows only, dilation along the height only."""
    return nn.Sequential(
        nn.Conv2d(
            before, after, size, stride=(1, stride), dilation=(dilation, 1), padding=(size // 2 * dilation, size // 2)
        ),
        nn.GroupNorm(_NORM_GROUPS, after),
        nn.ReLU(),
    )


def summed_along(alike: Tensor) -> Tensor:
    """Sums (N, S, T) along the line of each scale and shift through (N, H, H), the first view's rows by the second's; linear between."""
    rows = alike.shape[1]
    height = torch.arange(rows, dtype=alike.dtype) - (rows - 1) / 2
    there = height * (1 + SCALES[:, None, None]) + SHIFTS_MM[None, :, None] + (rows - 1) / 2
    low = there.floor().clamp(0, rows - 2)
    part = there - low
    seen = ((there >= 0) & (there <= rows - 1)).to(alike.dtype)
    index = (torch.arange(rows) * rows + low.long()).flatten()
    table = alike.flatten(1)
    below, above = (table[:, index + step].view(-1, *there.shape) for step in (0, 1))
    return torch.einsum("nsth,sth->nst", below, (1 - part) * seen) + torch.einsum("nsth,sth->nst", above, part * seen)


def seen_channels(rows: Tensor) -> Tensor:
    """(N, 3, H, W) of rows (N, H, W) with NaN outside: values about their mean, the same by local contrast, and where the image is."""
    inside = torch.isfinite(rows)
    there = inside.to(torch.float32)
    values = torch.where(inside, rows, torch.zeros(())).to(torch.float32)
    count = there.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    values = (values - values.sum(dim=(1, 2), keepdim=True) / count) * there
    spread = ((values**2).sum(dim=(1, 2), keepdim=True) / count).sqrt()
    values = values / (spread + _SMALL * (1 + values.abs().amax(dim=(1, 2), keepdim=True)))
    weight = _blurred(there, _MEAN_MM).clamp(min=1e-3)
    detail = (values - _blurred(values, _MEAN_MM) / weight) * there
    contrast = (_blurred(detail**2, _CONTRAST_MM) / _blurred(there, _CONTRAST_MM).clamp(min=1e-3)).clamp(min=0).sqrt()
    usual = contrast.mean(dim=(1, 2), keepdim=True)
    detail = detail / (contrast + _LEAST_CONTRAST * usual + _SMALL)
    return torch.stack([values.clamp(-3.0, 3.0), detail.clamp(-_WIDEST, _WIDEST), there], dim=1)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of images (N, H, W) by `sigma` pixels, on a coarse copy; nothing lies beyond the rim."""
    height, width = images.shape[1:]
    coarse = functional.adaptive_avg_pool2d(images[:, None], (height // _COARSER, width // _COARSER))
    narrow = sigma / _COARSER
    radius = int(3 * narrow)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=images.dtype) / narrow) ** 2)
    kernel = kernel / kernel.sum()
    down = functional.conv2d(coarse, kernel[None, None, :, None], padding=(radius, 0))
    both = functional.conv2d(down, kernel[None, None, None, :], padding=(0, radius))
    return functional.interpolate(both, size=(height, width), mode="bilinear", align_corners=False)[:, 0]
