"""Settings, presets, schedules, the weights' average and the log: what every stage's run is made of."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from training_toy import ToyBatches, ToyStage, toy_settings, train

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import write_json
from SSRKDCore.training.checkpoints import CHECKPOINT_NAME, read_checkpoint
from SSRKDCore.training.configuration import configuration
from SSRKDCore.training.optimisers import learning_rate_factor
from SSRKDCore.training.presets import (
    PRESETS,
    STAGES,
    ct_preset,
    run_preset,
    segmenter_preset,
    training_preset,
    xray_preset,
)
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.settings import RunSettings, XrayTraining
from SSRKDCore.training.step_dataset import StepDataset, entropy
from SSRKDCore.training.step_log import CsvLog

_RUN = RunSettings(accelerator="cpu", threads=1, log_steps=2, validation_steps=0, progress=False)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_their_dictionary_form(stage: str, preset: str) -> None:
    settings = training_preset(stage, preset)
    assert type(settings).from_dict(settings.to_dict()) == settings
    assert run_preset(preset).from_dict(run_preset(preset).to_dict()) == run_preset(preset)


def test_the_paper_preset_has_the_published_values() -> None:
    """Figures of the paper and of the released training, as the project's reference notes list them."""
    for settings in (segmenter_preset("paper"), ct_preset("paper"), xray_preset("paper")):
        assert (settings.optimiser, settings.momentum, settings.weight_decay) == ("sgd", 0.98, 3e-4)
        assert (settings.learning_rate, settings.schedule, settings.epochs) == (0.01, "quarters", 400)
    for peers in (segmenter_preset("paper"), ct_preset("paper")):
        assert peers.peers == 2 and peers.cross_pseudo_weight == 0.1
    teacher, student = ct_preset("paper"), xray_preset("paper")
    assert (teacher.window_low, teacher.window_high, teacher.crop_share, teacher.flips) == (-400, 500, 0.5, True)
    for points in (teacher, student):
        assert points.outside_weight == 1.5 and points.class_weight_power == pytest.approx(1 / 3)
        assert points.near_share == 0.5
    assert student.labelled_batch == student.unlabelled_batch
    assert (student.stack_weight_ratio, student.pseudo_weight, student.distillation_weight) == (1.5, 0.5, 0.1)
    assert student.background_weight == 0.5 and student.vertical_crop == 0.7
    assert student.network_config().input_channels == 2 and student.network_config().stacks == 4


def test_an_epoch_is_each_case_of_the_larger_part_once() -> None:
    paper = xray_preset("paper")
    assert paper.step_count(100, 300) == 400 * 150
    assert paper.step_count(300, 100) == 400 * 150
    assert paper.step_count(100, 301, processes=2) == 400 * 76
    assert xray_preset("compact").step_count(100, 300) == xray_preset("compact").steps


def test_settings_refuse_what_does_not_hold_together() -> None:
    student = xray_preset("compact")
    values = student.to_dict()
    with pytest.raises(InputError, match="lack seed"):
        XrayTraining.from_dict({name: value for name, value in values.items() if name != "seed"})
    for changes, words in (
        ({"sead": 1}, "have no sead"),
        ({"seed": "1"}, "seed of the X-ray settings must be a whole number"),
        ({"seed": True}, "must be a whole number"),
        ({"learning_rate": math.nan}, "must be a number"),
        ({"epochs": 3}, "one of epochs and steps"),
        ({"optimiser": "adam"}, "sgd, adamw"),
        ({"unlabelled_batch": 0}, "need an unlabelled_batch"),
        ({"distillation_points": 5000}, "1 to points"),
        ({"pseudo_weight": 1.0}, "between 0 and 1"),
    ):
        with pytest.raises(InputError, match=words):
            student.changed(changes)
    assert student.changed({"learning_rate": 1}).learning_rate == 1.0
    with pytest.raises(InputError, match="single network"):
        segmenter_preset("compact").changed({"peers": 1})
    with pytest.raises(InputError, match="bf16-mixed"):
        RunSettings(accelerator="cpu", precision="16-mixed")
    for function in (xray_preset, run_preset):
        with pytest.raises(InputError, match="no training preset 'huge'"):
            function("huge")


def test_cross_pseudo_supervision_is_ramped_up() -> None:
    settings = ct_preset("paper")
    assert settings.cross_pseudo_weight_at(0, 100) == pytest.approx(0.1 * math.exp(-5))
    assert settings.cross_pseudo_weight_at(50, 100) == pytest.approx(0.1 * math.exp(-1.25))
    assert settings.cross_pseudo_weight_at(100, 100) == pytest.approx(0.1)


def test_learning_rates_follow_their_schedules() -> None:
    paper = xray_preset("paper")
    factors = [learning_rate_factor(step, 400, paper) for step in (0, 99, 100, 199, 200, 300, 399)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.001, 0.001])
    compact = xray_preset("compact").changed({"warm_up_steps": 10})
    rising = [learning_rate_factor(step, 110, compact) for step in range(10)]
    assert rising == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert learning_rate_factor(10, 110, compact) == 1.0
    assert learning_rate_factor(60, 110, compact) == pytest.approx(0.505)
    assert learning_rate_factor(110, 110, compact) == pytest.approx(0.01)


def test_a_file_changes_the_preset_and_the_command_line_changes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    content = {
        "preset": "paper",
        "xray": {"seed": 7, "labelled_batch": 4},
        "run": {"threads": 3, "devices": 2},
        "samples": {"rigs": 2},
    }
    write_json(path, content)
    found = configuration("xray", path, None, ["seed=8", "distilled=both", "run.log_steps=5"], {"threads": 1})
    assert (found.preset, found.training.optimiser, found.samples) == ("paper", "sgd", {"rigs": 2})
    assert found.training == xray_preset("paper").changed({"seed": 8, "labelled_batch": 4, "distilled": "both"})
    assert (found.run.threads, found.run.devices, found.run.log_steps) == (1, 2, 5)
    assert configuration("ct", path, "compact").training == ct_preset("compact")
    assert configuration("ct").training == ct_preset("compact")
    with pytest.raises(InputError, match="name=value"):
        configuration("xray", path, None, ["seed"])
    write_json(path, {"xrey": {}})
    with pytest.raises(InputError, match="unknown xrey"):
        configuration("xray", path)


class _Recorder(Callback):
    """The weights after every step, before they are averaged or stored."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *unused: Any) -> None:
        self.weights.append({name: value.clone() for name, value in module.state_dict().items()})


def test_the_result_is_the_moving_average_of_the_weights(tmp_path: Path) -> None:
    settings, recorder = toy_settings(epochs=0, steps=12, weight_average=0.8), _Recorder()
    stage = ToyStage(settings, 12)
    average = {name: value.clone() for name, value in stage.state_dict().items()}
    result = run_stage(stage, ToyBatches(1, 12, 2), _RUN, tmp_path / "run", callbacks=[recorder])
    for step, weights in enumerate(recorder.weights, start=1):
        decay = min(0.8, (1 + step) / (10 + step))
        for name, value in weights.items():
            average[name] = value if not value.is_floating_point() else decay * average[name] + (1 - decay) * value
    for name, value in result.module.state_dict().items():
        torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(result.module.layers[0].weight, recorder.weights[-1]["layers.0.weight"])
    assert not result.module.training


def test_without_an_average_the_result_is_the_last_weights(tmp_path: Path) -> None:
    settings, recorder = toy_settings(epochs=0, steps=4, weight_average=0.0), _Recorder()
    result = run_stage(ToyStage(settings, 4), ToyBatches(1, 4, 2), _RUN, tmp_path / "run", callbacks=[recorder])
    assert all(torch.equal(value, recorder.weights[-1][name]) for name, value in result.module.state_dict().items())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as `_RUN` has: another number sums in another order, and other tests may have changed it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_lightning_trains_as_a_plain_loop_does(optimiser: str, tmp_path: Path) -> None:
    """The same weights, bit for bit, as a loop written out: gradient clipping, schedule and optimiser included."""
    settings = toy_settings(
        epochs=0, steps=15, weight_average=0.0, optimiser=optimiser, momentum=0.5, gradient_clip=0.3
    )
    batches = ToyBatches(settings.seed, 15, 2)
    result = run_stage(ToyStage(settings, 15), batches, _RUN, tmp_path / "run")
    plain = ToyStage(settings, 15).train()
    if optimiser == "sgd":
        loop = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.5, weight_decay=settings.weight_decay)
    else:
        loop = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=settings.weight_decay, fused=True)
    for step in range(15):
        for group in loop.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(step, 15, settings)
        torch.manual_seed(entropy(settings.seed, step, 0))
        loop.zero_grad()
        plain.training_step(batches[step], step)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
        loop.step()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in result.module.state_dict().items())


class _Exploding(ToyBatches):
    def batch(self, step: int) -> dict[str, Tensor]:
        values = super().batch(step)
        return {**values, "points": values["points"] * (math.nan if step == 5 else 1.0)}


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_stored(tmp_path: Path) -> None:
    settings = toy_settings(epochs=0, steps=12)
    run = _RUN.changed({"checkpoint_steps": 1})
    with pytest.raises(InputError, match=r"step 6 is not a finite number: lower learning_rate"):
        run_stage(ToyStage(settings, 12), _Exploding(1, 12, 2), run, tmp_path / "run")
    assert torch.load(tmp_path / "run" / CHECKPOINT_NAME, weights_only=True)["global_step"] == 5


def test_a_checkpoint_that_finds_no_room_is_named_and_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Trainer.save_checkpoint

    def full(trainer: Trainer, path: Path) -> None:
        if trainer.global_step == 8:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "elsewhere"))
        usual(trainer, path)

    monkeypatch.setattr(Trainer, "save_checkpoint", full)
    with pytest.raises(InputError, match=r"run/last\.ckpt cannot be written \(No space left on device\)"):
        train(tmp_path / "run", 12, run={"checkpoint_steps": 4})
    assert not (tmp_path / "run" / "last.ckpt.part").exists()
    assert read_checkpoint(tmp_path / "run" / CHECKPOINT_NAME)["global_step"] == 4


def test_bfloat16_trains(tmp_path: Path) -> None:
    result = train(tmp_path / "run", 6, run={"precision": "bf16-mixed"})
    assert result.budget["precision"] == "bf16-mixed" and result.budget["steps"] == 6
    assert all(torch.isfinite(value).all() for value in result.module.state_dict().values())


def test_tensorboard_gets_what_the_log_gets(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "run", 6, run={"tensorboard": True})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"loss", "wrong", "learning_rate", "validation_wrong"} <= set(events.Tags()["scalars"])
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    column = rows[0].index("loss")
    logged = [(int(row[0]), float(row[column])) for row in rows[1:] if row[column]]
    assert [step for step, _ in written] == [step for step, _ in logged] == [3, 6]
    assert [value for _, value in written] == pytest.approx([value for _, value in logged], rel=1e-5)


def test_without_tensorboard_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SSRKDCore.training.runner.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        train(tmp_path / "run", 2, run={"tensorboard": True})


def test_the_log_drops_what_a_resumed_run_repeats_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path)
    log.write({"step": 10, "loss": 0.5})
    log.write({"step": 20, "loss": 0.25, "dice": 0.75})
    log.write({"step": 30, "loss": 0.125})
    assert path.read_text() == "step,loss,dice\n10,0.5,\n20,0.25,0.75\n30,0.125,\n"
    with path.open("a") as file:
        file.write("40,0.0")
    again = CsvLog(path, step=20)
    again.write({"step": 30, "loss": 0.0625})
    assert path.read_text() == "step,loss,dice\n10,0.5,\n20,0.25,0.75\n30,0.0625,\n"


def test_cards_are_dealt_once_a_pass_and_draws_depend_on_their_keys_alone() -> None:
    dataset = StepDataset(seed=3, steps=10)
    passes = [[dataset.deal(turn * 7 + card, 7, stream=1) for card in range(7)] for turn in range(3)]
    assert all(sorted(cards) == list(range(7)) for cards in passes) and passes[0] != passes[1]
    assert [dataset.deal(card, 7, stream=2) for card in range(7)] != passes[0]
    assert dataset.generator(1, 2).random() == dataset.generator(1, 2).random() != dataset.generator(2, 1).random()
    assert StepDataset(4, 10).generator(1, 2).random() != dataset.generator(1, 2).random()
    dataset.rank, dataset.processes = 1, 2
    assert list(dataset.positions(3, 2)) == [14, 15]


def test_the_documentation_lists_every_deviation_of_the_compact_preset(repository: Path) -> None:
    rows = [
        tuple(cell.strip() for cell in line.split("|")[1:6])
        for line in (repository / "docs" / "training.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and line.split("|")[1].strip() in STAGES
    ]
    assert all(reason for *_, reason in rows)
    documented = {(stage, name, paper, compact) for stage, name, paper, compact, _ in rows}
    expected = set()
    for stage in STAGES:
        paper, compact = (training_preset(stage, preset).to_dict() for preset in PRESETS)
        for name in paper:
            if paper[name] != compact[name]:
                expected.add((stage, name, _in_words(paper[name]), _in_words(compact[name])))
    assert documented == expected


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
