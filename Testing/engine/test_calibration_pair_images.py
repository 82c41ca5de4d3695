"""`ssrkd calibrate pair` sees the images as a reconstruction does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SSRKDCore.cli import main
from SSRKDCore.radiographs import read_radiograph


@pytest.mark.parametrize("prepare", [True, False])
def test_an_image_with_exchanged_black_and_white_is_prepared_first(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], prepare: bool
) -> None:
    """The AP image is a negative, and its file does not say so."""
    sample = repository / "Resources" / "SampleCase"
    for view in ("ap", "lateral"):
        pixels = read_radiograph(sample / f"{view}.dcm").pixels
        if view == "ap":
            pixels = pixels.max() + pixels.min() - pixels
        image = SimpleITK.GetImageFromArray(pixels.astype(np.float32))
        image.SetSpacing((0.4, 0.4))
        SimpleITK.WriteImage(image, str(tmp_path / f"{view}.nrrd"))
    words = ["calibrate", "pair", f"--ap={tmp_path / 'ap.nrrd'}", f"--lateral={tmp_path / 'lateral.nrrd'}"]
    words += [f"--rig={sample / 'rig.json'}", f"--bones={sample}", "--starts=0", f"--out={tmp_path / 'rig.json'}"]
    capsys.readouterr()
    code = main([*words, "--intensity=line_integral", "--json", *([] if prepare else ["--no-prepare"])])
    result = json.loads(capsys.readouterr().out)
    if prepare:
        assert code == 0, result
        assert any("black and white were exchanged" in sentence for sentence in result["warnings"])
    else:
        # The edges of a negative have the bones on their other side.
        assert code == 2 and "error" in result
