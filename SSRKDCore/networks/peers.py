"""Two peers of one architecture, as cross pseudo supervision trains them (Chen et al. 2021): each teaches the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from torch import nn

NetworkType = TypeVar("NetworkType", bound=nn.Module)

Peer = Literal["A", "B"]
PEERS: tuple[Peer, Peer] = ("A", "B")


class Peers(nn.Module, Generic[NetworkType]):
    """The peers `a` and `b`, made by the same function with different initial weights.

    Peer A is the one used after training; the state dict holds both (`a.*`, `b.*`).
    """

    def __init__(self, make_network: Callable[[], NetworkType]) -> None:
        super().__init__()
        self.a = make_network()
        self.b = make_network()

    def network(self, peer: Peer = "A") -> NetworkType:
        """One of the two networks."""
        return self.a if peer == "A" else self.b
