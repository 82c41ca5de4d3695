"""What else lies in the beam, as path lengths in mm of its material: wires, casts, the table, the other leg, the collimator's blades.

Parallel projection within the image: positions and sizes are millimetres in the plane whose pixel size is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: A line integral above this is leg, below it open field.
_SKIN = 0.08


def wire_path(
    image: Tensor,
    pixel_mm: float,
    place: tuple[float, float],
    wave: tuple[float, float, float],
    diameter_mm: float,
) -> Tensor:
    """Path lengths (H, W) through a wire or cable: a line with a wave on it, chords of a circle, averaged over each pixel.

    place: (offset from the image's centre in mm, angle of the line in radians, 0 across the image). wave: (amplitude mm, length mm, phase).
    """
    rows, columns = image.shape
    row = (torch.arange(rows, dtype=image.dtype, device=image.device)[:, None] - rows / 2 + 0.5) * pixel_mm
    column = (torch.arange(columns, dtype=image.dtype, device=image.device)[None, :] - columns / 2 + 0.5) * pixel_mm
    offset, angle = place
    turn = torch.tensor(angle, dtype=image.dtype)
    along, aside = column * torch.cos(turn) + row * torch.sin(turn), row * torch.cos(turn) - column * torch.sin(turn)
    amplitude, length, phase = wave
    argument = 2 * torch.pi * along / length + phase
    slope = amplitude * 2 * torch.pi / length * torch.cos(argument)
    distance = (aside - offset - amplitude * torch.sin(argument)) / torch.sqrt(1 + slope**2)
    radius = diameter_mm / 2

    def area(position: Tensor) -> Tensor:
        """Area of the circle's part to one side of a chord."""
        limited = position.clamp(-radius, radius)
        return limited * torch.sqrt((radius**2 - limited**2).clamp(min=0)) + radius**2 * torch.asin(limited / radius)

    half = pixel_mm / 2
    return (area(distance + half) - area(distance - half)) / pixel_mm


def cast_path(
    image: Tensor, pixel_mm: float, thickness_mm: float, padding_mm: float, first: float, last: float
) -> Tensor:
    """Path lengths (H, W) through a cast about an upright leg: a shell about the circle that each row's silhouette is the shadow of.

    image: line integrals (H, W). padding_mm: wadding between skin and cast. first, last: rows that the cast covers, as shares.
    """
    rows, columns = image.shape
    inside = image > _SKIN
    position = torch.arange(columns, dtype=image.dtype, device=image.device)
    area = inside.sum(dim=1).to(image.dtype).clamp(min=1)
    centre, radius = (inside * position).sum(dim=1) / area, area / 2 * pixel_mm
    # Rows where little is leg would make the cast jump: the silhouette is taken from a running mean.
    window = max(3, rows // 10) | 1
    centre, radius = (_running_mean(values, window) for values in (centre, radius))
    across = (position[None, :] - centre[:, None]) * pixel_mm
    inner = radius[:, None] + padding_mm
    path = 2 * (_half_chord(inner + thickness_mm, across) - _half_chord(inner, across))
    row = (torch.arange(rows, device=image.device) + 0.5) / rows
    return path * ((row >= first) & (row < last))[:, None]


def table_path(
    image: Tensor, pixel_mm: float, edge: float, slab_mm: float, rail_mm: float, rail_width_mm: float
) -> Tensor:
    """Path lengths (H, W) through a table top that ends at a column (share of the width), with a rail along its edge."""
    columns = image.shape[1]
    position = (torch.arange(columns, dtype=image.dtype, device=image.device) + 0.5) / columns
    rail = (position >= edge) & ((position - edge) * columns * pixel_mm < rail_width_mm)
    return (slab_mm * (position >= edge) + rail_mm * rail).expand_as(image)


def other_leg(image: Tensor, shift: float) -> Tensor:
    """The image (H, W) mirrored and moved sideways by a share of its width: the other leg's line integrals, 0 where it does not reach."""
    columns = image.shape[1]
    step = round(shift * columns)
    moved = torch.zeros_like(image)
    mirrored = image.flip(-1)
    if step > 0:
        moved[:, step:] = mirrored[:, : columns - step]
    elif step < 0:
        moved[:, :step] = mirrored[:, -step:]
    else:
        moved = mirrored
    return moved


def blade_openness(images: Tensor, sides: Tensor, turns: Tensor, penumbra: Tensor) -> Tensor:
    """How far the collimator is open at each pixel, 0 to 1, (N, H, W).

    sides: (N, 4) shares of the image that the left, right, upper and lower blade cover; 0 and less covers nothing. turns: (N,) radians.
    penumbra: (N,) width of the half-shadow as a share of the image.
    """
    rows, columns = images.shape[1:]
    row = ((torch.arange(rows, dtype=images.dtype, device=images.device) + 0.5) / rows - 0.5)[None, :, None]
    column = ((torch.arange(columns, dtype=images.dtype, device=images.device) + 0.5) / columns - 0.5)[None, None, :]
    angle, soft = turns[:, None, None], penumbra[:, None, None].clamp(min=1e-4)
    u, v = column * torch.cos(angle) + row * torch.sin(angle), row * torch.cos(angle) - column * torch.sin(angle)
    open_part = torch.ones_like(images)
    for index, along in enumerate((u, -u, v, -v)):
        covered = sides[:, index][:, None, None]
        edge = (along + 0.5 - covered) / soft + 0.5
        open_part = open_part * torch.where(covered > 0, edge.clamp(0, 1), torch.ones_like(edge))
    return open_part


def _half_chord(radius: Tensor, across: Tensor) -> Tensor:
    return torch.sqrt((radius**2 - across**2).clamp(min=0))


def _running_mean(values: Tensor, window: int) -> Tensor:
    padded = torch.nn.functional.pad(values[None, None], (window // 2, window // 2), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, window, stride=1)[0, 0]
