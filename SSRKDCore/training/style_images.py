"""The two sets of images of style training: standardised network views, of cases' radiographs or of a sample store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.cases import CASE_FILE, find_cases, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.radiographs.standardise import standardise
from SSRKDCore.training.case_checks import refuse_evaluation_only
from SSRKDCore.training.finetune_samples import network_images, radiographs_of
from SSRKDCore.training.sample_store import STORE_FILE, SampleStore, write_arrays
from SSRKDCore.training.step_dataset import StepDataset
from SSRKDCore.training.style_layout import most_alike
from SSRKDCore.training.style_settings import StyleTraining
from SSRKDCore.training.whole_persons import person_of

Progress = Callable[[float, str], None]

_SIMULATED, _REAL = range(2)


@dataclass(frozen=True)
class StyleImages:
    """Images of one look.

    Attributes
    ----------
    images: (N, S, S) float16, standardised, 0 where the detector did not see.
    seen: (N, S, S) bool.
    cases: (N,) the case that each shows.
    content: changes when the images do.
    persons: (N,) whose knee each shows; empty where every case is a person of its own.
    """

    images: NDArray[np.float16]
    seen: NDArray[np.bool_]
    cases: tuple[str, ...]
    content: str
    persons: tuple[str, ...] = ()

    @property
    def person_of_case(self) -> dict[str, str]:
        """Case -> whose knee it is."""
        return dict(zip(self.cases, self.persons or (f"case {name}" for name in self.cases), strict=True))

    def part(self, chosen: NDArray[np.bool_]) -> StyleImages:
        """The images where `chosen` (N,) is true."""
        kept = np.flatnonzero(chosen)
        cases = tuple(self.cases[index] for index in kept)
        persons = tuple(self.persons[index] for index in kept) if self.persons else ()
        return StyleImages(self.images[chosen], self.seen[chosen], cases, self.content, persons)


def style_images(
    source: Path,
    cache: Path,
    settings: StyleTraining,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> StyleImages:
    """The images of a folder of cases (their own radiographs) or of a sample store (all its rigs).

    They are kept in the file `cache`, so that a run that goes on does not read everything again.

    Raises InputError when the folder holds neither, an image cannot be used, or a case is for evaluation only; Cancelled.
    """
    size = settings.network_config().image_size
    if (source / STORE_FILE).is_file():
        store = SampleStore(source)
        content = f"{store.fingerprint} {size}"
        made = _cached(cache, content)
        return made or _kept(cache, content, *_of_store(store, settings, size))
    folders = find_cases(source)
    content = f"{_content_of(folders)} {size}"
    made = _cached(cache, content)
    return made or _kept(cache, content, *_of_cases(folders, settings, size, progress, cancelled))


def _of_store(
    store: SampleStore, settings: StyleTraining, size: int
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]], list[str], list[str]]:
    images, cases, persons = [], [], []
    for case in range(len(store)):
        for rig in range(store.rigs_per_case):
            for image in store.read(case, rig, teacher=False).images:
                if image.shape != (size, size):
                    raise InputError(
                        f"The samples in {store.folder} have {image.shape[0]} x {image.shape[1]} pixels and the style"
                        f" network {settings.architecture!r} reads {size} x {size}: make the samples again at that size."
                    )
                plain = image.astype(np.float32)
                images.append(standardise(plain, np.ones_like(plain), settings.input_standardisation()))
                cases.append(store.case_ids[case])
                persons.append(store.cases[case].person)
    return images, [np.ones((size, size), dtype=bool)] * len(images), cases, persons


def _of_cases(
    folders: Sequence[Path],
    settings: StyleTraining,
    size: int,
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]], list[str], list[str]]:
    images, masks, cases, persons = [], [], [], []
    for done, folder in enumerate(folders):
        if cancelled is not None and cancelled():
            raise Cancelled("Reading the radiographs was cancelled.")
        case = load_case(folder)
        refuse_evaluation_only(case)
        radiographs, rig = radiographs_of(case)
        plain, seen, _ = network_images(radiographs, rig, size)
        for image, mask in zip(plain, seen, strict=True):
            images.append(standardised_image(image, mask, settings.input_standardisation(), folder))
            masks.append(mask > 0)
            cases.append(case.id)
            persons.append(person_of(case))
        if progress is not None:
            progress((done + 1) / len(folders), f"{done + 1} of {len(folders)} cases read")
    return images, masks, cases, persons


def standardised_image(
    image: NDArray[np.float32], seen: NDArray[np.uint8], how: Mapping[str, Any], folder: Path
) -> NDArray[np.float32]:
    """A network view (S, S) as networks read it. Raises InputError, naming the case's folder, where it cannot be read."""
    try:
        return standardise(image, seen.astype(np.float32), how)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error


def _content_of(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        case = load_case(folder)
        for path in (folder / CASE_FILE, *case.radiographs.values()):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        digest.update(str(case.rig.to_dict()).encode())
    return digest.hexdigest()[:24]


def _kept(
    cache: Path,
    content: str,
    images: Sequence[NDArray[np.float32]],
    masks: Sequence[NDArray[np.bool_]],
    cases: Sequence[str],
    persons: Sequence[str],
) -> StyleImages:
    found = StyleImages(np.stack(images).astype(np.float16), np.stack(masks), tuple(cases), content, tuple(persons))
    cache.parent.mkdir(parents=True, exist_ok=True)
    named = {"cases": np.array(found.cases), "persons": np.array(found.persons), "content": np.array(content)}
    write_arrays(cache, {"images": found.images, "seen": found.seen, **named})
    return found


def _cached(cache: Path, content: str) -> StyleImages | None:
    try:
        with np.load(cache, allow_pickle=False) as archive:
            if str(archive["content"]) != content:
                return None
            cases, persons = (tuple(str(name) for name in archive[key]) for key in ("cases", "persons"))
            return StyleImages(archive["images"], archive["seen"], cases, content, persons)
    except (OSError, ValueError, KeyError, EOFError):
        return None


class StyleBatches(StepDataset):
    """What a step sees: real (B, 1, S, S) images and simulated ones (A, 1, S, S) of their layout, cropped and mirrored alike.

    The simulated image of place i stands beside the real one of place i, or i modulo B where there are more simulated ones. `seen`
    (B, 1, S, S) is where the detectors of the real images saw something.

    Args:
        simulated, real: the two looks; they show different knees. settings: what is learnt.
    """

    def __init__(self, simulated: StyleImages, real: StyleImages, settings: StyleTraining) -> None:
        super().__init__(settings.seed, settings.steps)
        self.simulated, self.real, self.settings = simulated, real, settings
        count = settings.matches or len(simulated.images)
        self._beside = most_alike(real.images, simulated.images, count)

    def fingerprint(self) -> dict[str, Any]:
        return {
            name: hashlib.sha256(f"{given.content} {given.cases}".encode()).hexdigest()[:24]
            for name, given in (("simulated", self.simulated), ("real", self.real))
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        settings = self.settings
        shown = [
            self.deal(position, len(self.real.images), _REAL)
            for position in self.positions(step, settings.unlabelled_batch)
        ]
        beside = []
        for number, position in enumerate(self.positions(step, settings.labelled_batch)):
            alike = self._beside[shown[number % len(shown)]]
            beside.append(int(alike[self.generator(_SIMULATED, position).integers(len(alike))]))
        return {
            "simulated": self._drawn(self.simulated.images, beside, step).float(),
            "real": self._drawn(self.real.images, shown, step).float(),
            "seen": self._drawn(self.real.seen, shown, step),
        }

    def _drawn(self, given: NDArray[Any], chosen: Sequence[int], step: int) -> Tensor:
        images = []
        for number, index in enumerate(chosen):
            image = given[index]
            # The same numbers for a real image and those beside it.
            generator = self.generator(
                _REAL, step * self.settings.unlabelled_batch + number % self.settings.unlabelled_batch
            )
            size = self.settings.crop_size
            if size:
                row, column = generator.integers(0, image.shape[0] - size + 1, 2)
                image = image[row : row + size, column : column + size]
            if self.settings.augmentation and generator.random() < 0.5:
                image = image[:, ::-1]
            images.append(np.ascontiguousarray(image))
        return torch.from_numpy(np.stack(images))[:, None]
