"""Training that starts from a model folder's weights instead of drawn ones."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.xray_batches import XrayBatches

_STEM_WEIGHT = "stem_conv.weight"


def start_from(network: XrayReconstructionNetwork, initial: Model) -> None:
    """Give a network the weights of a model, in place.

    The architectures must agree, but for one thing: a network that reads the bone-enhanced image beside the plain one
    may start from a model that reads the plain one alone. The weights of the new channel (the first) are then 0, so
    that it says the same as the model at first, and learns what the channel is worth.

    Raises InputError when the model is of another kind or architecture; the message says what differs.
    """
    check_same_architecture(network.config, initial)
    values = initial.network.state_dict()
    own = network.state_dict()
    with torch.no_grad():
        for name, target in own.items():
            target.copy_(_with_channels(values[name], target) if name.endswith(_STEM_WEIGHT) else values[name])


def check_same_architecture(wanted: XrayNetworkConfig, initial: Model) -> None:
    """Raises InputError where `start_from` would: another kind, or another architecture (1 -> 2 input channels aside)."""
    found = initial.config
    if not isinstance(found, XrayNetworkConfig):
        raise InputError(
            f"The model {initial.name} is of kind {initial.kind}, and training can only go on from one of kind xray:"
            " name another model."
        )
    different = [
        f"{item.name} ({getattr(found, item.name)} there, {getattr(wanted, item.name)} now)"
        for item in dataclasses.fields(wanted)
        if getattr(found, item.name) != getattr(wanted, item.name)
        and not (item.name == "input_channels" and found.input_channels < wanted.input_channels)
    ]
    if different:
        raise InputError(
            f"The model {initial.name} has another architecture, which differs in {'; '.join(different[:4])}: start from"
            " a model of the same architecture, or change the settings."
        )


def _with_channels(weight: Tensor, target: Tensor) -> Tensor:
    """A first convolution's weight with zeros for the input channels that come before its own."""
    missing = target.shape[1] - weight.shape[1]
    if not missing:
        return weight
    zeros = weight.new_zeros((weight.shape[0], missing, *weight.shape[2:]))
    return torch.cat([zeros, weight], dim=1)


def weights_sha256(model: Model) -> str:
    """The SHA-256 of a model folder's weights, as its model.json says. Raises InputError where there is none."""
    found = model.card.get("weights", {}).get("sha256")
    if not isinstance(found, str):
        raise InputError(
            f"The model {model.name} does not say the SHA-256 of its weights: load it from a model folder."
        )
    return found


def network_sha256(model: Model) -> str:
    """SHA-256 over the names and values of a network's weights, wherever they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class ContinuedBatches(XrayBatches):
    """`XrayBatches` of a run that starts from a model: another model is another run.

    Args:
        initial: whose weights the run starts from. The others as in `XrayBatches`.
    """

    def __init__(
        self, store: SampleStore, cases: Sequence[int], settings: XrayTraining, steps: int, initial: Model
    ) -> None:
        super().__init__(store, cases, settings, steps)
        self.initial = weights_sha256(initial)
        self.initial_settings = settings_identity(initial)

    def fingerprint(self) -> dict[str, Any]:
        begun = {"initial_model": self.initial, "initial_settings": self.initial_settings}
        return {**super().fingerprint(), **begun}
