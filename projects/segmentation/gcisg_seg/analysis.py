"""The analysis of segmentors, both of this suite and of plain MMSegmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from torch import Tensor, nn

from gcisg_core.channels import swap_bgr
from gcisg_core.config import require
from gcisg_core.model_metrics import ModelMetrics, Value
from gcisg_seg.evaluation import predicted_classes
from gcisg_seg.model_metrics import evaluate, predict
from gcisg_seg.windows import Window, windows
from gcisg_suite.analysis.load import load_backbone, load_model, read_state
from gcisg_suite.analysis.pretraining import original_accuracy, original_classifier, pretraining_images
from gcisg_suite.analysis.task import OKABE_ITO, EvalTask, Options


class SegmentationTask(EvalTask):
    """See :class:`gcisg_suite.analysis.task.EvalTask`.

    Args:
        config: A config of mmseg or of this project. Its test images are used, or those in ``data``, a folder with the
            layout that the config's data set expects.
        options: Options of the command line.
    """

    title = "segmentation"
    heads = {"mIoU": "mIoU %", "aAcc": "pixel accuracy %"}  # noqa: RUF012
    score = "the share of its labelled pixels that are classified correctly"
    cam = "the class with the second largest area in the image's truth (or the only class), on its pixels"

    def __init__(self, config: Config, options: Options) -> None:
        init_default_scope("mmseg")
        data = config.test_dataloader.dataset
        if options.data:
            require(
                "data_root" in data, "test_dataloader.dataset", data.type, "one data set with a data_root for --data"
            )
            data.data_root = options.data
        self.dataset: Any = DATASETS.build(data)
        self.options, self.device = options, torch.device(options.device)
        self.data = str(options.data or data.get("data_root") or data.get("ann_file") or data.type)
        self.model = config.model
        backbone = self.model.backbone
        default = backbone.get("weights") or (backbone.get("init_cfg") or {}).get("checkpoint")
        default = default or self.model.get("pretrained") or ""
        if "regularizer" in self.model:
            self.model.regularizer = {"method": "none"}
        self.preprocessor = MODELS.build(self.model.data_preprocessor).to(self.device)
        self.is_rgb = getattr(self.preprocessor, "loaded_as_rgb", False)  # mmcv loads BGR
        self._colours: dict[int, tuple[int, int, int]] = {}
        self.take_reference(self._pretrained, options.reference, default)

    def _pretrained(self, weights: str) -> nn.Module:
        network = revert_sync_batchnorm(MODELS.build(self.model.backbone))
        state = read_state(weights)
        load_backbone(network, state, weights)
        self.classifier = original_classifier(state)
        return network.to(self.device)

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, path: str) -> Any:
        model = revert_sync_batchnorm(MODELS.build(self.model))
        load_model(model, read_state(path), path)
        return model.to(self.device).eval()

    def evaluate(self, model: Any) -> ModelMetrics:
        return evaluate(model, self.dataset, self.reference, self.options.form)

    def acc_in(self, backbone: nn.Module) -> Value:
        options = self.options
        images = pretraining_images(options.imagenet, options.imagenet_size, self.weights)
        return original_accuracy(
            lambda batch: self.pooled(backbone, self._prepared({"inputs": list(swap_bgr(batch))})),
            self.classifier,
            images,
        )

    def _prepared(self, batch: dict[str, Any]) -> Tensor:
        images: Tensor = self.preprocessor(batch, False)["inputs"]
        return images

    def backbone(self, model: Any) -> nn.Module:
        network: nn.Module = model.backbone
        return network

    def inputs(self, index: int) -> Tensor:
        return self._prepared(pseudo_collate([self.dataset[index]]))

    def pixels(self, index: int) -> np.ndarray:
        image = self.dataset[index]["inputs"]
        return np.asarray(swap_bgr(image, not self.is_rgb).permute(1, 2, 0))

    def truth(self, index: int) -> Tensor:
        """(H, W), the class of each pixel, or the value that the data set ignores.

        Raises:
            ValueError: the data set has no labels.
        """
        labels = getattr(self.dataset[index]["data_samples"], "gt_sem_seg", None)
        if labels is None:
            raise ValueError("the images have no labels")
        classes: Tensor = labels.data[0].long()
        return classes

    def windows(self, size: Sequence[int]) -> list[Window]:
        return windows(self.model.get("test_cfg"), size)

    def explained(
        self, model: Any, index: int, window: Window
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        labels = self.truth(index)
        counts = torch.bincount(labels[labels < len(self.dataset.metainfo["classes"])])
        present = counts.argsort(descending=True)[: int((counts > 0).sum())]
        category = int(present[min(1, len(present) - 1)])
        here = (labels == category).float()[None, None]
        here = F.interpolate(here, self.inputs(index).shape[-2:], mode="area")[..., window[0], window[1]]

        def score(scores: Tensor) -> Tensor:
            mask = F.interpolate(here.to(scores), scores.shape[-2:], mode="area")[0, 0]
            # With one channel (`out_channels=1`), its value is the score of the second class relative to the first.
            chosen = scores[category] if len(scores) > 1 else (2 * category - 1) * scores[0]
            return (chosen * mask).sum()

        return lambda images: model(images, mode="tensor"), score

    @torch.no_grad()
    def draw(self, axis: Any, index: int, model: Any | None = None) -> None:
        batch = pseudo_collate([self.dataset[index]])
        labels = self.truth(index) if model is None else predict(model, batch).cpu()
        image = Image.fromarray(self.pixels(index)).convert("L").resize((labels.shape[1], labels.shape[0]))
        picture = np.repeat(np.asarray(image)[..., None], 3, axis=2)
        for label, colour in self.colours().items():
            here = (labels == label).numpy()
            picture[here] = (0.3 * picture[here] + 0.7 * np.array(colour)).astype(np.uint8)
        axis.imshow(picture)

    @torch.no_grad()
    def confidence(self, index: int, model: Any) -> str:
        batch = pseudo_collate([self.dataset[index]])
        sample = model.test_step(batch)[0]
        scores, found = sample.seg_logits.data, predicted_classes(sample).cpu()
        one = scores.sigmoid() if len(scores) == 1 else None  # probability of the second of two classes
        shares = scores.softmax(dim=0).amax(dim=0) if one is None else torch.maximum(one, 1 - one)
        lines = [f"mean confidence {100 * float(shares.mean()):.0f} %"]
        labels = getattr(batch["data_samples"][0], "gt_sem_seg", None)
        if labels is not None:
            valid = labels.data[0] != getattr(self.dataset, "ignore_index", 255)
            right = (found == labels.data[0])[valid].double().mean()
            lines.append(f"{100 * float(right):.0f} % of pixels correct")
        return "\n".join(lines)

    def legend(self) -> list[tuple[str, Any]]:
        names = self.dataset.metainfo["classes"]
        return [(names[label], np.array(colour) / 255) for label, colour in self.colours().items()]

    def colours(self) -> dict[int, tuple[int, int, int]]:
        """Class -> colour for the 2nd to 9th most common classes, by the pixels of 20 images; the others get none."""
        if not self._colours:
            count = len(self.dataset.metainfo["classes"])
            shown = np.linspace(0, len(self) - 1, min(20, len(self))).astype(int)
            pixels = sum(torch.bincount(self.truth(int(index)).flatten(), minlength=256)[:count] for index in shown)
            order = torch.as_tensor(pixels).argsort(descending=True, stable=True)[1 : len(OKABE_ITO) + 1].tolist()
            self._colours = dict(zip(sorted(order), OKABE_ITO, strict=False))
        return self._colours
