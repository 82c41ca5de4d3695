"""Train the compact network on simulated samples: `python -m SSRKDCore.training.train_compact`."""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SSRKDCore.json_files import read_json
from SSRKDCore.networks.build import use_channels_last
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.training.augmentation import augment, standardise_batch
from SSRKDCore.training.simulated_cases import load_samples

STACK_WEIGHT_RATIO = 1.5


def project_points(points: Tensor, projections: Tensor, cube: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Normalised coordinates (B, V, N, 2) and relative depths (B, V, N) of points.

    Parameters
    ----------
    points: (B, N, 3) mm. projections: (B, V, 3, 4). cube: (B, 4), centre and size in mm. size: pixels of a network view.
    """
    homogeneous = torch.einsum("bvij,bnj->bvni", projections[..., :3], points) + projections[:, :, None, :, 3]
    depth = homogeneous[..., 2]
    pixels = homogeneous[..., :2] / depth[..., None]
    center_depth = torch.einsum("bvj,bj->bv", projections[:, :, 2, :3], cube[:, :3]) + projections[:, :, 2, 3]
    relative = (depth - center_depth[..., None]) / (cube[:, 3] / 2)[:, None, None]
    return normalised_coordinates(pixels, size, size), relative


class SampleFolder:
    """All samples of a folder that another process may still be filling."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: list[dict[str, np.ndarray]] = []
        self._read: set[str] = set()

    def refresh(self) -> int:
        """Read the files that are new; returns how many samples there are."""
        for path in sorted(self.folder.glob("knee*.npz")):
            if path.name not in self._read and not path.name.endswith(".part.npz"):
                self.samples += load_samples(path)
                self._read.add(path.name)
        return len(self.samples)

    def batch(
        self, generator: np.random.Generator, size: int, points: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """images (B, V, H, W), projections, cubes, points (B, N, 3), labels (B, N): three quarters of the points near surfaces."""
        columns: list[list[np.ndarray]] = [[], [], [], [], []]
        near_wanted = points * 3 // 4
        for index in generator.integers(len(self.samples), size=size):
            sample = self.samples[index]
            near = int(sample["near"])
            chosen = np.concatenate(
                [
                    generator.integers(near, size=near_wanted),
                    generator.integers(near, len(sample["labels"]), size=points - near_wanted),
                ]
            )
            values = (
                sample["images"].astype(np.float32),
                sample["projections"],
                sample["cube"],
                sample["points"][chosen],
                sample["labels"][chosen],
            )
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        images, projections, cubes, positions, labels = (torch.from_numpy(np.stack(column)) for column in columns)
        return images, projections.double(), cubes.double(), positions.double(), labels.long()


def learning_rate(step: int, elapsed: float, total: float, settings: dict) -> float:
    """Warm-up by steps, then a cosine over wall-clock time, since the budget is minutes."""
    rise = min(1.0, (step + 1) / settings["warm_up_steps"])
    return (
        float(settings["learning_rate"])
        * rise
        * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, elapsed / total))))
    )


def loss_of(
    network: XrayReconstructionNetwork, images: Tensor, coordinates: Tensor, depths: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross entropy over the stacks, weighted 1, 1.5, ...; and the last stack's share of wrong labels."""
    output = network(images, coordinates, depths)
    total = torch.zeros(())
    weights = [STACK_WEIGHT_RATIO**index for index in range(len(output.logits))]
    for weight, logits in zip(weights, output.logits, strict=True):
        total = total + weight / sum(weights) * functional.cross_entropy(logits.float(), labels)
    wrong = (output.logits[-1].detach().argmax(dim=1) != labels).float().mean()
    return total, wrong


def main() -> None:
    """Train until the minutes of the configuration are spent, with checkpoints from which the run goes on after a kill."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2, help="on a busy machine one thread is faster than two")
    arguments = parser.parse_args()
    settings = read_json(arguments.config, "a training configuration")["training"]
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(settings["seed"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = xray_config(settings["architecture"])
    network = XrayReconstructionNetwork(config).train()
    # channels_last more than halves the time of a step on a CPU.
    use_channels_last(network)
    average = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    step, spent = 0, 0.0
    checkpoint = arguments.out / "last.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average, step, spent = state["average"], state["step"], state["spent"]
    folder = SampleFolder(arguments.samples)
    while folder.refresh() < 2 * settings["batch"]:
        time.sleep(5)
    generator = np.random.default_rng([settings["seed"], step])
    torch_generator = torch.Generator().manual_seed(settings["seed"] * 1000003 + step)
    total = settings["minutes"] * 60
    started, saved, shown = time.monotonic() - spent, time.monotonic(), time.monotonic()
    recent: list[tuple[float, float]] = []
    smooth_loss = math.log(config.class_count)

    def save() -> None:
        beside = checkpoint.with_suffix(".part")
        torch.save(
            {"network": network.state_dict(), "average": average, "optimiser": optimiser.state_dict(), "step": step,
             "spent": time.monotonic() - started, "samples": len(folder.samples), "loss": smooth_loss}, beside,
        )  # fmt: skip
        beside.rename(checkpoint)

    log = (arguments.out / "log.csv").open("a", newline="")
    writer = csv.writer(log)
    while time.monotonic() - started < total:
        elapsed = time.monotonic() - started
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, elapsed, total, settings)
        images, projections, cubes, points, labels = folder.batch(generator, settings["batch"], settings["points"])
        batch, views, height, width = images.shape
        flat, coverage = augment(images.reshape(-1, height, width), torch_generator)
        flat = standardise_batch(flat, coverage, ROBUST["low_percentile"], ROBUST["high_percentile"], ROBUST["limit"])
        coordinates, depths = project_points(points, projections, cubes, config.input_size)
        inputs = flat.reshape(batch, views, 1, height, width)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(settings["bfloat16"])):
            loss, wrong = loss_of(network, inputs, coordinates.float(), depths.float(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        decay = min(float(settings["average_decay"]), (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in network.state_dict().items():
                average[key].lerp_(value, 1 - decay) if value.is_floating_point() else average[key].copy_(value)
        recent.append((float(loss.detach()), float(wrong)))
        smooth_loss += 0.1 * (recent[-1][0] - smooth_loss)
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            means = np.mean(recent, axis=0)
            writer.writerow(
                [
                    step,
                    f"{elapsed / 60:.2f}",
                    len(folder.samples),
                    f"{means[0]:.5f}",
                    f"{means[1]:.5f}",
                    f"{optimiser.param_groups[0]['lr']:.2e}",
                ]
            )
            log.flush()
            print(
                f"step {step} {elapsed / 60:.1f} min, {len(folder.samples)} samples, loss {means[0]:.4f}, wrong {means[1]:.4f}",
                flush=True,
            )
            recent.clear()
            folder.refresh()
        if time.monotonic() - saved > settings["checkpoint_minutes"] * 60:
            saved = time.monotonic()
            save()
    save()
    log.close()


if __name__ == "__main__":
    main()
