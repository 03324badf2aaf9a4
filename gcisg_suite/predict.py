"""Predictions of a trained model of any task on images, folders and videos."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from gcisg_core.files import replacing, write_text
from gcisg_core.problems import DataError
from gcisg_suite.folders import list_files
from gcisg_suite.images import SUFFIXES, read_image
from gcisg_suite.progress import progress
from gcisg_suite.tasks import TASKS, read_config, task_of

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


def build_predictor(config: str, overrides: list[str], checkpoint: str, device: str, score: float) -> Any:
    """The task's predictor (see the projects).

    Args:
        config: A config file, or the name of a network that needs none.

    Raises:
        ValueError: config and checkpoint do not fit, or one cannot be used.
    """
    for task in TASKS.values():
        if "named_predictor" in task.doors and (found := task.door("named_predictor")(config, checkpoint, device)):
            return found
    if not Path(config).is_file():
        raise ValueError(f"--config {config}: no such file, nor a ResNet of torchvision, torchvision:NAME or timm:NAME")
    loaded = read_config(config, overrides)
    return task_of(loaded).door("predictor")(loaded, checkpoint, device, score)


class Inputs:
    """The given files: images and videos by the name of their results, and files that are neither.

    Raises:
        ValueError: a file does not exist or is neither image nor video, no file was found, or two files would write
            the same result.
    """

    def __init__(self, given: Sequence[str], out: Path) -> None:
        self.images: dict[str, Path] = {}
        self.videos: dict[str, Path] = {}
        self.others: list[Path] = []
        self.hidden: list[Path] = []
        for path in map(Path, given):
            if not path.exists():
                raise ValueError(f"{path}: no such file or folder")
            if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
                raise ValueError(f"--output {out} lies in {path}, so results would be taken for images; name another")
            if not path.is_dir():
                self._add(path, Path(path.name), False)
                continue
            names, hidden = list_files(path)
            self.hidden += [path / name for name in hidden]
            for name in names:
                self._add(path / name, Path(name), True)
        if not self.images and not self.videos:
            raise ValueError(f"{', '.join(given)}: no image ({', '.join(SUFFIXES)}) or video ({', '.join(VIDEOS)})")

    def _add(self, file: Path, relative: Path, in_folder: bool) -> None:
        suffix = file.suffix.lower()
        goal = self.images if suffix in SUFFIXES else self.videos if suffix in VIDEOS else None
        if goal is None:
            if not in_folder:
                expected = f"expected one of {', '.join((*SUFFIXES, *VIDEOS))}"
                raise ValueError(f"{file}: neither image nor video by its suffix, {expected}")
            self.others.append(file)
            return
        name = str(relative.with_suffix(""))
        if name in goal:
            raise ValueError(f"{goal[name]} and {file} would both give the result {name}; predict them in two runs")
        goal[name] = file


class PredictionWriter:
    """Predicts, writes the results, counts them, and collects errors."""

    def __init__(self, predictor: Any, out: Path, batch_size: int) -> None:
        self.predictor, self.out, self.batch_size = predictor, out, batch_size
        self.problems: list[str] = []
        self.count, self.seconds = 0, 0.0

    def predictions(self, stream: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray, Any]]:
        """Predict in batches: pairs (key, image) -> triples (key, image, result)."""
        pairs = iter(stream)
        while batch := list(islice(pairs, self.batch_size)):
            start = time.perf_counter()
            results = self.predictor.predict([image for _, image in batch])
            self.seconds += time.perf_counter() - start
            self.count += len(batch)
            for (key, image), result in zip(batch, results, strict=True):
                yield key, image, result

    def images(self, files: dict[str, Path]) -> None:
        """Overlays, label maps, `predictions.json` and `images.json`."""
        entries: list[dict[str, Any]] = []
        index: list[dict[str, Any]] = []
        for name, image, result in self.predictions(self._read(files)):
            about = {"image_id": len(index) + 1, "file_name": str(files[name])}
            entries += self.predictor.record(result, about)
            height, width = image.shape[:2]
            index.append({"id": about["image_id"], "file_name": about["file_name"], "width": width, "height": height})
            _save(Image.fromarray(self.predictor.draw(image, result)), self.out / "overlays" / f"{name}.png")
            if self.predictor.label_map:
                _save(self.predictor.label_map(result), self.out / "labels" / f"{name}.png")
        ids = getattr(self.predictor, "category_ids", range(len(self.predictor.classes)))
        categories = [{"id": i, "name": name} for i, name in zip(ids, self.predictor.classes, strict=True)]
        write_text(self.out / "predictions.json", json.dumps(entries))
        write_text(self.out / "images.json", json.dumps({"images": index, "annotations": [], "categories": categories}))

    def _read(self, files: dict[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        for name, file in progress(files.items(), "predicting"):
            try:
                yield name, read_image(file)
            except DataError as error:
                self.problems.append(str(error))

    def video(self, name: str, file: Path) -> None:
        """The video with overlays, and one JSON line per frame."""
        capture = cv2.VideoCapture(str(file))
        rate, expected = capture.get(cv2.CAP_PROP_FPS) or 25.0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        goal = self.out / f"{name}.mp4"
        frames = self.predictions(_frames(capture, expected))
        first = next(frames, None)
        if first is None:
            self.problems.append(f"{file}: no frame can be read; OpenCV does not recognise it as a video")
            return
        with replacing(goal) as partial:
            lines = list(self._film(chain([first], frames), file, partial, rate))
        capture.release()
        write_text(goal.with_suffix(".jsonl"), "".join(lines))
        if len(lines) < expected:
            self.problems.append(f"{file}: only {len(lines)} of {expected} frames can be read; it is incomplete")

    def _film(
        self, frames: Iterable[tuple[int, np.ndarray, Any]], file: Path, goal: Path, rate: float
    ) -> Iterator[str]:
        """Draws every frame into a new video; returns the JSON lines."""
        writer = None
        for number, image, result in frames:
            drawn = self.predictor.draw(image, result)
            if writer is None:
                size = (drawn.shape[1], drawn.shape[0])
                writer = cv2.VideoWriter(str(goal), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                if not writer.isOpened():
                    raise ValueError(f"{goal}: OpenCV cannot write this video ({size[0]} x {size[1]} pixels, mp4v)")
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            found = self.predictor.record(result, {"image_id": number, "file_name": str(file)})
            yield json.dumps({"frame": number, "seconds": number / rate, "predictions": found}) + "\n"
        if writer is not None:
            writer.release()


def _frames(capture: Any, expected: int) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (number from 0, frame in RGB)."""
    read = iter(capture.read, (False, None))
    for number, (_, frame) in enumerate(progress(read, "predicting", "frame", expected)):
        yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _save(image: Image.Image, path: Path) -> None:
    with replacing(path) as partial:
        image.save(partial, format="PNG")


def predict(inputs: Inputs, predictor: Any, out: Path, batch_size: int) -> list[str]:
    """Predict on everything and print the counts; returns one line for each error."""
    run = PredictionWriter(predictor, out, batch_size)
    start = time.perf_counter()
    if inputs.images:
        run.images(inputs.images)
    for name, file in inputs.videos.items():
        run.video(name, file)
    seconds = time.perf_counter() - start
    for kind, files in (("neither image nor video", inputs.others), ("hidden by their name", inputs.hidden)):
        if files:
            print(f"left out {len(files)} files, {kind}: {', '.join(map(str, files[:3]))}{', ...' * (len(files) > 3)}")
    print(
        f"{run.count} images and frames in {seconds:.1f} s, {run.count / seconds:.2f} per second "
        f"(prediction alone {run.count / max(run.seconds, 1e-9):.2f}); results in {out}"
    )
    return run.problems
