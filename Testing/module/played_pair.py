"""`ssrkd calibrate pair` as it is played in tests of the panel: in a real process, with an answer that is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: By how much the engine that is played here lowers the lateral view.
LOWERED_MM = 4.0


def record(bones: str = "shape_model") -> dict[str, Any]:
    """As `ssrkd calibrate pair` answers for the sample's pair."""
    values = {
        "turn_about_beam_degrees": (-0.89, 3.51, True),
        "turn_about_columns_degrees": (-0.04, 3.08, True),
        "turn_about_rows_degrees": (-2.43, 4.77, False),
        "shift_along_beam_mm": (-4.08, 15.03, False),
        "shift_along_columns_mm": (-0.59, 13.42, False),
        "shift_along_rows_mm": (LOWERED_MM, 1.66, True),
    }
    return {
        "schema": "ssrkd-calibration/1",
        "kind": "pair",
        "images": ["ap.dcm", "lateral.dcm"],
        "measured": {
            "pose": {name: {"value": value, "from_the_images": told} for name, (value, _, told) in values.items()},
            "outline_distance_mm": {"before": [0.44, 0.77], "after": [0.45, 0.54]},
            "bones": bones,
        },
        "uncertainty": {f"{name}_95": width for name, (_, width, _) in values.items()},
        "assumed": ["the knee did not bend between the two radiographs"],
        "warnings": ["Not known <well> enough."],
    }


_ENGINE = """
import json, pathlib, shutil, subprocess, sys, time
words = sys.argv[1:]
if "inspect" in words or "calibrate" in words and "pair" not in words:
    import os
    os.environ["PYTHONPATH"] = {repository!r}
    sys.exit(subprocess.run([sys.executable, "-P", "-m", "SSRKDCore", *words]).returncode)
options = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
rig = json.loads(pathlib.Path(options["rig"]).read_text(encoding="utf-8"))
told = {{"words": words, "rig": rig}}
pathlib.Path({told!r}).write_text(json.dumps(told), encoding="utf-8")
if "bones" in options:
    shutil.copytree(options["bones"], {bones!r}, dirs_exist_ok=True)
if "pair" not in words:
    sys.exit(2)
print(json.dumps({{"progress": 0.5, "words": "matching outlines"}}), file=sys.stderr, flush=True)
{meanwhile}
lateral = next(view for view in rig["views"] if view["name"] == "lateral")
for name in ("source", "detector_origin"):
    lateral[name] = [value + {lowered} * along for value, along in zip(lateral[name], lateral["row_direction"])]
record = {record!r}
rig["provenance"] = dict(rig.get("provenance", {{}}))
rig["provenance"]["calibrations"] = [*rig["provenance"].get("calibrations", []), {{"kind": "pair"}}]
pathlib.Path(options["out"]).write_text(json.dumps(rig), encoding="utf-8")
print(json.dumps({{**record, "rig": options["out"], "record": "calibration.json"}}))
"""


def estimate(panel: Any) -> None:
    """Press *Estimate its position* and wait; nothing may go wrong."""
    panel.click("estimatePositionButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors


class PlayedEngine:
    """Plays `calibrate pair`, in a real process, and notes what it and `reconstruct` were told; the rest is the engine's own."""

    def __init__(self, does: Callable[[str], None], repository: Path, folder: Path) -> None:
        self._does, self._repository, self._told = does, repository, folder / "told.json"
        #: Where the known bones lie that it was given.
        self.bones = folder / "told bones"

    def plays(self, meanwhile: str = "", bones: str = "shape_model") -> None:
        given = {"repository": str(self._repository), "told": str(self._told), "record": record(bones)}
        given["bones"] = str(self.bones)
        self._does(_ENGINE.format(meanwhile=meanwhile, lowered=LOWERED_MM, **given))

    @property
    def words(self) -> list[str]:
        return json.loads(self._told.read_text(encoding="utf-8"))["words"]

    @property
    def rig(self) -> dict[str, Any]:
        return json.loads(self._told.read_text(encoding="utf-8"))["rig"]

    @property
    def wasAsked(self) -> bool:
        return self._told.is_file()
