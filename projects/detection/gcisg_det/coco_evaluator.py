"""COCO AP by pycocotools, with the box convention in the results and without NaN."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_json
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gcisg_core.files import write_json
from gcisg_core.screen import tell_step

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers

HEADLINE, RECALL = ("AP", "AP50", "AP75"), ("AR@100", "AR@1000")


class BoxEvaluator(COCOEvaluator):
    """COCO AP by pycocotools, with the box convention in the log and in `results.json`.

    A detector without detections has an AP of 0. A class or size range without ground-truth boxes
    has no AP: it is null in `results.json`, which lists such classes, and :meth:`evaluate` leaves it out.

    Detectron2's faster copy of pycocotools is not used: it needs a compiled extension and is not the official code.

    Args:
        dataset_name: A registered data set in Detectron2's or COCO's form.
        output_dir: Folder for predictions, results and the ground truth in COCO's form.
        tasks: ``bbox``, ``segm``, ``keypoints``; None: those that have predictions.
        sigmas: Standard deviations of the keypoints, as fractions of an object's size; empty for COCO's 17.

    Raises:
        DataError: the data cannot be used.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str,
        tasks: Sequence[str] | None = None,
        sigmas: Sequence[float] = (),
    ) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        file = Path(output_dir) / f"{dataset_name}_coco_format.json"
        # Otherwise the framework would reuse a ground truth converted before the data or the folder changed.
        metadata.__dict__.pop("json_file", None)
        if own := metadata.get("own"):
            DatasetCatalog.get(dataset_name)  # registers the classes
        if comm.is_main_process():
            if own:
                write_json(file, with_counted_keypoints(own.read().content, len(metadata.get("keypoint_names", ()))))
            else:
                convert_to_coco_json(dataset_name, str(file), allow_cached=False)
        comm.synchronize()
        metadata.json_file = str(file)
        super().__init__(dataset_name, tasks=tasks, output_dir=output_dir, use_fast_impl=False, kpt_oks_sigmas=sigmas)
        self.dataset_name = dataset_name
        self.convention = metadata.get("convention", "own")
        counts = Counter(item["category_id"] for item in self._coco_api.anns.values() if not item.get("iscrowd", 0))
        self.absent = [item["name"] for key, item in sorted(self._coco_api.cats.items()) if not counts[key]]
        if self.absent:
            logger.warning("%s has no box of %s, so there is no AP for it.", dataset_name, ", ".join(self.absent))

    def process(self, inputs: Any, outputs: Any) -> None:
        super().process(inputs, outputs)
        tell_step("evaluating", len(self._predictions), len(self._coco_api.imgs))

    def evaluate(self, img_ids: list | None = None) -> OrderedDict:
        """Log and write all results; return those that are finite."""
        results = super().evaluate(img_ids)
        if not results:
            return results
        for task, values in results.items():
            shown = ", ".join(f"{key} {values[key]:.2f}" for key in (*HEADLINE, *RECALL) if key in values)
            logger.info("%s, box convention %s, %s: %s", self.dataset_name, self.convention, task, shown)
        content = {
            "dataset": self.dataset_name,
            "convention": self.convention,
            "results": results,
            "absent_classes": self.absent,
        }
        write_json(Path(self._output_dir) / "results.json", content, indent=1)
        return OrderedDict(
            (task, {name: value for name, value in values.items() if math.isfinite(value)})
            for task, values in results.items()
        )

    def _eval_box_proposals(self, predictions: list[dict[str, Any]]) -> None:
        super()._eval_box_proposals(predictions)
        self._results["box_proposals"] = {key: float(value) for key, value in self._results["box_proposals"].items()}

    def _derive_coco_results(self, coco_eval: COCOeval | None, iou_type: str, class_names: Any = None) -> dict:
        """Return the framework's results; without detections, those of pycocotools instead of NaN."""
        found: dict = super()._derive_coco_results(coco_eval or self._nothing_found(iou_type), iou_type, class_names)
        return found

    def _nothing_found(self, iou_type: str) -> COCOeval:
        nothing = COCO()
        nothing.dataset = {**self._coco_api.dataset, "annotations": []}
        with contextlib.redirect_stdout(io.StringIO()):
            nothing.createIndex()
            evaluation = COCOeval(self._coco_api, nothing, iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation


def with_counted_keypoints(content: dict[str, Any], keypoints: int) -> dict[str, Any]:
    """Add the fields that pycocotools needs for keypoints: their positions, and the number of labelled ones."""
    for item in content["annotations"] if keypoints else ():
        places = item.setdefault("keypoints", [0] * 3 * keypoints)
        item["num_keypoints"] = sum(visible > 0 for visible in places[2::3])
    return content
