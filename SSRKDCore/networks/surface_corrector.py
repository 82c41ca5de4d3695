"""A small network that tells by how much a refined surface lies beside the bone, at places that mean the same on every knee.

Each anchor of a bone is described by what lies about it (`refinement.anchor_features`), and has an embedding of its own, for what goes
wrong at that place on every knee. Learning what a method still gets wrong from what it saw is boosting (J. H. Friedman, "Greedy function
approximation: a gradient boosting machine", Ann Stat 29, 2001), here along the surface of a bone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_EMBEDDING, _HIDDEN = 16, 128
_DROPOUT = 0.1
#: Descriptions are standardised and end here: nothing is learnt from what is further out.
_WIDEST = 6.0


class BoneCorrector(nn.Module):
    """Descriptions (B, F) of anchors by number (B,) -> distances (B,) in mm by which the bone's surface lies further outwards.

    `usual` and `spread`, (F,) each, are mean and deviation of the training's descriptions.
    """

    usual: Tensor
    spread: Tensor

    def __init__(self, anchors: int, features: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.place = nn.Embedding(anchors, _EMBEDDING)
        self.bias = nn.Embedding(anchors, 1)
        self.layers = nn.Sequential(
            nn.Dropout(_DROPOUT),
            nn.Linear(features + _EMBEDDING, _HIDDEN),
            nn.SiLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, 1),
        )
        nn.init.normal_(self.place.weight, std=0.3)
        nn.init.zeros_(self.bias.weight)

    def forward(self, described: Tensor, anchors: Tensor) -> Tensor:
        values = ((described - self.usual) / self.spread).clamp(-_WIDEST, _WIDEST)
        found: Tensor = self.layers(torch.cat([values, self.place(anchors)], dim=1)) + self.bias(anchors)
        return found[:, 0]


class SurfaceCorrector(nn.Module):
    """A `BoneCorrector` for each bone, by its name. anchors: how many each bone has. features: of a description."""

    def __init__(self, anchors: Mapping[str, int], features: int) -> None:
        super().__init__()
        self.bones = nn.ModuleDict({name: BoneCorrector(count, features) for name, count in anchors.items()})

    def forward(self, bone: str, described: Tensor, anchors: Tensor) -> Tensor:
        found: Tensor = self.bones[bone](described, anchors)
        return found
