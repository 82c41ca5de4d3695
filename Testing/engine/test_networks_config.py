"""Network configurations: presets as the paper and the released files have them, strict round trip."""

from __future__ import annotations

import json
from typing import Any

import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.networks.build import config_from_dict, kind_of
from SSRKDCore.networks.config import (
    PRESETS,
    CtNetworkConfig,
    SegmenterConfig,
    XrayNetworkConfig,
    ct_config,
    norm_group_count,
    segmenter_config,
    xray_config,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_json(preset: str) -> None:
    for config in (xray_config(preset), ct_config(preset), segmenter_config(preset)):
        values = json.loads(json.dumps(config.to_dict()))
        assert type(config).from_dict(values) == config
        assert config_from_dict(kind_of(config), values) == config


def test_presets_have_the_widths_of_their_sources() -> None:
    paper, published, compact = (xray_config(preset) for preset in PRESETS)
    assert paper.point_features == 514 and paper.classifier_hidden == (1024, 512, 256, 128)
    assert published.point_features == 512 and published.classifier_hidden == (512, 128)
    assert (paper.stacks, paper.features, paper.input_size) == (4, 256, 512)
    assert (compact.input_size, compact.input_channels, compact.stacks, compact.features) == (256, 1, 2, 64)
    assert compact.point_features == 130 and compact.feature_map_size == 64
    assert published.align_corners and not compact.align_corners
    assert ct_config("paper").classifier_hidden == (128, 256, 128, 64)
    assert segmenter_config("published").level_features == (64, 128, 256, 512, 1024)
    assert segmenter_config("published").size_multiple == 16


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"'huge'.*paper, published, compact"):
        xray_config("huge")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("stacks", "4", "stacks must be int"),
        ("stacks", True, "stacks must be int"),
        ("stacks", 10**9, "stacks must be 1 to 16"),
        ("features", 2.0, "features must be int"),
        ("features", 6, "multiple of 4"),
        ("depth_per_view", 1, "depth_per_view must be bool"),
        ("classifier_hidden", [256, "a"], "classifier_hidden must be"),
        ("classifier_hidden", [], "classifier_hidden must be"),
        ("input_size", 250, "multiple of 32"),
        ("input_channels", 3, "input_channels"),
        ("sampling", "nearest", "sampling must be one of"),
        ("sampling", None, "sampling must be str"),
        ("class_count", 6, "class_count must be 5"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(field: str, value: Any, words: str) -> None:
    values = {**xray_config("compact").to_dict(), field: value}
    with pytest.raises(InputError, match=words):
        XrayNetworkConfig.from_dict(values)


def test_missing_and_unknown_fields_are_refused() -> None:
    values = ct_config("paper").to_dict()
    del values["base_filters"]
    with pytest.raises(InputError, match="lacks base_filters and has the unknown dropout"):
        CtNetworkConfig.from_dict({**values, "dropout": 0.5})
    with pytest.raises(InputError, match="is a list"):
        SegmenterConfig.from_dict([1])  # type: ignore[arg-type]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="'mri'"):
        config_from_dict("mri", {})


def test_group_count_divides_the_channels() -> None:
    assert [norm_group_count(channels, 32) for channels in (256, 32, 16, 24)] == [32, 32, 16, 8]
