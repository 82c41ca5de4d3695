"""What fine-tuning is, as settings: the student's, with the architecture and input of the model that it goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from SSRKDCore.errors import InputError
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.training.presets import xray_preset
from SSRKDCore.training.settings import XrayTraining

#: Parts of the encoders that keep their weights: none, the stem (what comes before the first hourglass), or all of it.
FREEZES = ("none", "stem", "encoders")
_OF_THE_MODEL = "of the model"


@dataclass(frozen=True, kw_only=True)
class FinetuneTraining(XrayTraining):
    """Settings of the student that goes on from a model.

    Attributes:
        network: the model's architecture; `architecture` says "of the model" instead of a preset.
        layer_decay: each level nearer to the image learns at this share of the rate of the level above it (classifier,
            last hourglass, ..., first hourglass, stem), after Howard and Ruder, "Universal language model fine-tuning
            for text classification", ACL 2018, section 3.2; 1 treats all alike.
        frozen: "none", "stem" or "encoders", see `FREEZES`.
        check_steps: steps between two looks at the cases that decide when to stop.
        patience: so many looks without a better one end the run.
        rehearsed_batch: cases of the model's own training in a step, beside the site's, against forgetting; 0 where there are none
            (A. Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", Connection Science 7, 1995).
    """

    title: ClassVar[str] = "fine-tuning settings"
    #: A site's own images are not exposed anew.
    augmentations: ClassVar[tuple[bool | str, ...]] = (False, True)
    network: XrayNetworkConfig
    layer_decay: float
    frozen: str
    check_steps: int
    patience: int
    rehearsed_batch: int

    @classmethod
    def _typed(cls, name: str, value: Any, annotation: str) -> Any:
        if name == "network":
            return XrayNetworkConfig.from_dict(value) if isinstance(value, Mapping) else value
        return super()._typed(name, value, annotation)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "network": self.network.to_dict()}

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        super()._one_of(name, (*allowed, _OF_THE_MODEL) if name == "architecture" else allowed)

    def _check(self) -> None:
        super()._check()
        self._one_of("frozen", FREEZES)
        self._require(self.steps > 0, "fine-tuning counts steps, not epochs")
        self._require(0 < self.layer_decay <= 1, "layer_decay must be above 0, to 1")
        self._require(self.check_steps >= 1 and self.patience >= 1, "check_steps and patience must be 1 or more")
        self._require(self.rehearsed_batch >= 0, "rehearsed_batch must be 0 or more")
        self._require(not self.distillation, "fine-tuning has no distillation")

    def network_config(self) -> XrayNetworkConfig:
        """The model's architecture."""
        return self.network


_VALUES: dict[str, Any] = {
    "architecture": _OF_THE_MODEL,
    "epochs": 0,
    "steps": 600,
    "labelled_batch": 1,
    "learning_rate": 3e-5,
    "warm_up_steps": 20,
    "weight_average": 0.98,
    "distillation": False,
    "distillation_points": 1,
    "layer_decay": 0.7,
    "frozen": "none",
    "check_steps": 20,
    "patience": 6,
}


def finetune_settings(
    model: Model, unlabelled: bool, changes: Mapping[str, Any] | None = None, rehearsed: bool = False
) -> FinetuneTraining:
    """The settings with which a model is fine-tuned.

    The rate is a fiftieth of that of training from nothing: a trained model only loses by steps that shake it. All that an image must be
    for the model stays as it is, and errors weigh what they weighed in its training, as far as its folder says: other weights of the
    classes would move every surface at once.

    Parameters
    ----------
    model: of kind xray. unlabelled: whether there are cases that a CT teacher labels.
    changes: other values, by name. rehearsed: whether the model's own samples take part.

    Raises InputError for a model of another kind, a standardisation that training does not know, or unknown changes.
    """
    if not isinstance(model.config, XrayNetworkConfig):
        raise InputError(
            f"The model {model.name} is of kind {model.kind}, and one of kind xray is fine-tuned: name another model."
        )
    if model.standardisation not in ({}, ROBUST):
        raise InputError(
            f"The model {model.name} reads images that are standardised as {model.standardisation}, and training only"
            " knows robust and none: fine-tune another model."
        )
    enhancement = model.config.input_channels == 2
    if enhancement:
        model.require_segmenter()
    values = {
        **xray_preset("compact").to_dict(),
        **_weights_of_errors(model),
        **_VALUES,
        "network": model.config,
        "enhancement": enhancement,
        "background_weight": model.input.background_weight,
        "intensity_scale": model.intensity_scale,
        "standardisation": "robust" if model.standardisation else "none",
        "unlabelled_batch": 1 if unlabelled else 0,
        "pseudo_labels": unlabelled,
        "rehearsed_batch": int(rehearsed),
    }
    fixed = [name for name in (changes or {}) if name in _OF_MODEL]
    if fixed:
        raise InputError(f"{', '.join(fixed)} of the fine-tuning settings follow from the model: leave them out.")
    settings = FinetuneTraining.from_dict(values).changed(dict(changes or {}))
    if bool(settings.rehearsed_batch) != rehearsed:
        raise InputError(
            "rehearsed_batch and the model's own samples (--samples) belong together: give both, or neither."
        )
    return settings


def _weights_of_errors(model: Model) -> dict[str, Any]:
    """What the loss of the model's own training made of errors, of those settings that its folder states."""
    training = model.card.get("training")
    record = training if isinstance(training, Mapping) else {}
    # A published model names its stages; one that a single run wrote is the stage.
    stages = record.get("stages")
    stage = stages.get("xray") if isinstance(stages, Mapping) else record
    settings = stage.get("settings") if isinstance(stage, Mapping) else None
    return {} if not isinstance(settings, Mapping) else {name: settings[name] for name in _ERRORS if name in settings}


#: Settings that say what an error costs, and where points lie.
_ERRORS = ("near_share", "outside_weight", "class_weight_power", "stack_weight_ratio")
_OF_MODEL = (
    "architecture",
    "network",
    "enhancement",
    "background_weight",
    "intensity_scale",
    "standardisation",
    "pseudo_labels",
    "distillation",
    "distilled",
    "distillation_weight",
    "distillation_points",
)
