"""Radiographs laid back along their rays into a cube of voxels, and a volume projected along the same rays.

A voxel takes what the radiograph shows where the ray through the voxel's centre meets the detector, so that each view fills the cube
with a copy of itself that widens from the source on; after Kasten et al., "End-to-end convolutional neural network for 3D
reconstruction of knee bones from bi-planar X-ray images" (MLMIR 2020), whose parallel rays are the true cone beam here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from SSRKDCore.networks.coordinates import sample_feature_map
from SSRKDCore.training.xray_batches import project_points


def cube_points(cubes: Tensor, voxels: int) -> Tensor:
    """Centres (B, voxels^3, 3) in LPS mm of the voxels that tile cubes (B, 4), each centre and side in mm; in the order [z, y, x]."""
    steps = (torch.arange(voxels, dtype=torch.float64, device=cubes.device) + 0.5) / voxels - 0.5
    z, y, x = torch.meshgrid(steps, steps, steps, indexing="ij")
    unit = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    return cubes[:, None, :3] + cubes[:, None, 3:] * unit


def back_projected(images: Tensor, projections: Tensor, cubes: Tensor, voxels: int) -> Tensor:
    """Volumes (B, V, voxels, voxels, voxels), [z, y, x], one channel a view; 0 where a view's image does not reach.

    An image with more pixels a side than the cube has voxels is averaged down to as many first.

    Parameters
    ----------
    images: (B, V, S, S), rows downwards.
    projections: (B, V, 3, 4) float64, (x, y, z, 1) in LPS mm -> (row w, column w, w) in pixels of the images.
    cubes: (B, 4) float64, centre (x, y, z) and side, mm.
    voxels: along each side of the cube.
    """
    batch, views, size, _ = images.shape
    coordinates, _ = project_points(cube_points(cubes, voxels), projections, cubes, size)
    flat = images.flatten(0, 1)[:, None]
    if size > voxels:
        flat = functional.adaptive_avg_pool2d(flat, voxels)
    samples = sample_feature_map(flat, coordinates.flatten(0, 1).to(images.dtype), align_corners=False)
    return samples.view(batch, views, voxels, voxels, voxels)


def ray_points(projections: Tensor, cubes: Tensor, size: int, pixels: int, samples: int) -> tuple[Tensor, Tensor]:
    """Points (B, V, pixels^2, samples, 3) in LPS mm along the rays through `pixels` x `pixels` squares of each image, and the distance
    (B, V, pixels^2) in mm between neighbours. Together they span every depth that the cube has.

    projections, cubes: as in `back_projected`; size: pixels a side of the images that the projections speak of.
    """
    middle = (torch.arange(pixels, dtype=torch.float64, device=cubes.device) + 0.5) * size / pixels - 0.5
    rows, columns = torch.meshgrid(middle, middle, indexing="ij")
    homogeneous = torch.stack([rows, columns, torch.ones_like(rows)], dim=-1).reshape(-1, 3)
    inverse = torch.linalg.inv(projections[..., :3])
    source = -torch.einsum("bvij,bvj->bvi", inverse, projections[..., 3])
    # The ray per unit of depth: depth is the third homogeneous coordinate.
    rays = torch.einsum("bvij,nj->bvni", inverse, homogeneous)
    centre = torch.einsum("bvj,bj->bv", projections[:, :, 2, :3], cubes[:, :3]) + projections[:, :, 2, 3]
    reach = cubes[:, None, 3] * (3.0**0.5 / 2)
    share = (torch.arange(samples, dtype=torch.float64, device=cubes.device) + 0.5) / samples * 2 - 1
    depths = centre[..., None] + reach[..., None] * share
    points = source[:, :, None, None] + rays[:, :, :, None] * depths[:, :, None, :, None]
    spacing = rays.norm(dim=-1) * (2 * reach / samples)[..., None]
    return points, spacing


def projected(volumes: Tensor, projections: Tensor, cubes: Tensor, size: int, pixels: int) -> Tensor:
    """Line integrals (B, V, pixels, pixels), in mm times the volumes' unit, of volumes (B, G, G, G), [z, y, x], that fill the cubes.

    projections, cubes, size: as in `ray_points`. The volume is 0 outside its cube.
    """
    batch, views = projections.shape[:2]
    count = 2 * volumes.shape[-1]
    points, spacing = ray_points(projections, cubes, size, pixels, count)
    inside = (points - cubes[:, None, None, None, :3]) / (cubes[:, None, None, None, 3:] / 2)
    grid = inside.reshape(batch, views * pixels**2, count, 1, 3).to(volumes.dtype)
    values = functional.grid_sample(volumes[:, None], grid, padding_mode="zeros", align_corners=False)
    sums = values.view(batch, views, pixels**2, count).sum(dim=-1) * spacing.to(volumes.dtype)
    return sums.view(batch, views, pixels, pixels)
