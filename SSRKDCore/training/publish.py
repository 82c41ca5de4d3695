"""Turn a training run into a model folder whose card says what was measured: `python -m SSRKDCore.training.publish`."""

from __future__ import annotations

import argparse
import csv
import datetime
import subprocess
from pathlib import Path
from typing import Any

import torch

from SSRKDCore import cli
from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.model_folder import ModelInput, save_model
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.radiographs.standardise import ROBUST

LICENCE = "research only: trained on surfaces under CC BY-NC and other non-commercial or unstated licences (see MODEL_CARD.md)"


def _simulate(leg: Path, preset: str, out: Path, side: str) -> None:
    """A case by `ssrkd radiograph`, which shares no density model with the training samples."""
    if out.is_dir():
        return
    code = cli.main(["radiograph", str(leg), "--rig", preset, "--side", side, "--out", str(out), "--json"])
    if code:
        raise InputError(f"{leg} could not be simulated: see the message above.")


def make_test_cases(data: Path, excluded_subjects: list[str], out: Path) -> dict[str, Path]:
    """Radiographs of legs that training never saw, one folder of cases a group; cases that are there already are kept.

    Groups: "unseen leg, RIG" for each preset, legs of the excluded subjects; "OAI (evaluation only), room".
    """
    manifest = read_json(data / "manifest.json", "the manifest of the anatomy folder")
    sides = {
        item["id"]: {"R": "right", "L": "left"}[item["side"]]
        for item in manifest["items"]
        if item.get("side") in ("R", "L")
    }
    unseen = [
        item["id"]
        for item in manifest["items"]
        if item.get("subject") in excluded_subjects and (data / "legs" / item["id"]).is_dir()
    ]
    groups = {}
    for preset in ("room", "paper", "c_arm"):
        groups[f"unseen leg, {preset}"] = out / f"unseen-{preset}"
        for name in unseen:
            _simulate(data / "legs" / name, preset, groups[f"unseen leg, {preset}"] / name, sides[name])
    groups["OAI (evaluation only), room"] = out / "oai-room"
    for folder in sorted(path for path in (data / "external_oai").iterdir() if path.is_dir()):
        _simulate(folder, "room", groups["OAI (evaluation only), room"] / folder.name, "right")
    return groups


def evaluate_groups(model: Path, groups: dict[str, Path], out: Path) -> dict[str, dict[str, Any]]:
    """`ssrkd evaluate` on each group; returns its report.json by group."""
    reports = {}
    for name, cases in groups.items():
        target = out / cases.name
        code = cli.main(["evaluate", "--model", str(model), "--cases", str(cases), "--out", str(target), "--overwrite"])
        if code:
            raise InputError(f"{cases} could not be evaluated: see the message above.")
        reports[name] = read_json(target / "report.json", "an evaluation report")
    return reports


def measured_table(reports: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of the means, and of the worst exact ASSD, per group and bone."""
    lines = [
        "| cases | bone | n | exact ASSD mm | worst | exact HD mm | exact HD95 mm | Dice | paper-protocol ASSD mm | paper-protocol HD mm |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for group, report in reports.items():
        for bone in BONE_NAMES:
            rows = [case["bones"][bone] for case in report["cases"].values() if bone in case["bones"]]
            scored = [row for row in rows if row.get("failure") is None]
            if not rows:
                continue
            if not scored:
                lines.append(f"| {group} | {bone} | 0 of {len(rows)} | failed | | | | | | |")
                continue

            def mean(key: str, scored: list[dict[str, Any]] = scored) -> str:
                values = [row[key] for row in scored if row.get(key) is not None]
                return f"{sum(values) / len(values):.2f}" if values else "-"

            worst = max(row["exact_assd_mm"] for row in scored)
            count = f"{len(scored)} of {len(rows)}" if len(scored) < len(rows) else str(len(rows))
            measures = " | ".join(
                mean(key) for key in ("exact_hd_mm", "exact_hd95_mm", "dice", "paper_assd_mm", "paper_hd_mm")
            )
            lines.append(f"| {group} | {bone} | {count} | {mean('exact_assd_mm')} | {worst:.2f} | {measures} |")
    return "\n".join(lines)


def _commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def card(settings: dict[str, Any], training: dict[str, Any], subjects: list[str], table: str) -> str:
    """The text of MODEL_CARD.md."""
    excluded = ", ".join(settings["population"]["excluded_subjects"])
    return f"""# compact

A small network that turns two calibrated knee radiographs into femur, tibia, fibula and patella. **Research software, not a medical
device. Do not plan surgery with it.**

- Task: X-ray reconstruction network of SSR-KD (Lin et al. 2026), architecture preset `compact`, side-agnostic, any calibrated rig of
  two views about 55 to 90 degrees apart.
- Licence: {LICENCE}.
- Recipe: `make model` with `configs/compact.json`; card and figures written {training["date"]} at commit {training["commit"]}.
- How this copy was made: {training["remark"]}

## Trained on

Simulated radiographs only. {training["samples"]} samples (two views of a random knee in a random room, closed-form densities)
of base anatomies from {len(subjects)} sources: real legs of msk-STAPLE (TLEM2_CT, JIA_MRI, MC22; CC BY-NC 4.0, TLEM2 terms not
stated), pymskt (MIT), SPL knee atlas (3D Slicer License); VSD whole femora (CC BY-NC-SA 4.0) and samples of the Clouthier
shape model (GPL-3.0), completed with the other bones of a leg. Every knee is bent, resized, mirrored at random and smoothly
deformed. Labels only: no unlabelled cases, no distillation, no bone enhancement; those are the paper's and are not part of
this first model.

Never used: the subject(s) {excluded}; everything marked evaluation-only (OAI); any real radiograph.

Budget: {training["steps"]} steps of {settings["training"]["batch"]} knees, {training["minutes"]:.0f} minutes on one to two CPU
cores, bfloat16. The weights are the running average at the end; no checkpoint was picked by a test case.

## Measured

By `ssrkd evaluate` at 256^3 on radiographs simulated by `ssrkd radiograph` (another density model than in training, quantum and
electronic noise). Exact distances (point to triangle) and the paper's protocol (point to point) are different measures; never compare one
with the other. A bone that was not found counts as a failure and has no distance. Written by `python -m SSRKDCore.training.publish`;
the same figures are in `evaluation.json` beside this card.

{table}

The OAI knees have no fibula and end flat inside the field of view; their ends count as surface.

## Known failures

- Trained on simulated radiographs only: on real ones expect much larger errors (see the README for what it gives on a real pair).
- Where a bone ends inside the field of view (a cut scan, an amputation), the shaft is continued into nothing, by centimetres. This
  is what makes the OAI tibia's Hausdorff distance large.
- Geometry is taken as told: a wrong magnification or angle gives a wrong bone without a warning from the network.
- Metal, casts, children, severe deformity, flexion beyond about 25 degrees, one view missing: never seen.
- The fibula and the back of the patella are seen by few rays and are the least certain.
"""


def main() -> None:
    """Average weights -> model folder; simulate the test cases; evaluate; write the card and the figures beside it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--samples", type=Path, help="folder of the training samples (beside the run)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--remark", default="by that recipe, unchanged.", help="how the run differed from the recipe, for the card"
    )
    arguments = parser.parse_args()
    settings = read_json(arguments.config, "a training configuration")
    state = torch.load(arguments.run / "last.pt", weights_only=True)
    config = xray_config(settings["training"]["architecture"])
    network = XrayReconstructionNetwork(config)
    network.load_state_dict(state["average"])
    samples = arguments.samples or arguments.run.parent / "samples"
    subjects = read_json(samples / "anatomies.json", "the list of anatomies")["subjects"]
    with (arguments.run / "log.csv").open() as log:
        last = list(csv.reader(log))[-1]
    training = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "command": "make model",
        "remark": arguments.remark,
        "configuration": settings,
        "samples": int(state["samples"]),
        "steps": int(state["step"]),
        "minutes": state["spent"] / 60,
        "last_loss": float(last[3]),
    }
    model_input = ModelInput(standardisation=dict(ROBUST))

    def save(folder: Path, text: str | None) -> None:
        save_model(
            folder, network.eval(), config, name="compact", model_input=model_input, training=training, licence=LICENCE,
            dtype="float16", card=text, overwrite=True,
        )  # fmt: skip

    save(arguments.run / "model", None)
    groups = make_test_cases(
        arguments.data, settings["population"]["excluded_subjects"], arguments.run.parent / "test-cases"
    )
    reports = evaluate_groups(arguments.run / "model", groups, arguments.run / "evaluation")
    save(arguments.out, card(settings, training, subjects, measured_table(reports)))
    write_json(
        arguments.out / "evaluation.json",
        {"schema": "ssrkd-model-evaluation/1", "commit": training["commit"], "groups": reports},
    )


if __name__ == "__main__":
    main()
