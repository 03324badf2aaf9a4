"""Adds a method to any Detectron2 LazyConfig (`.py`).

    from detectron2 import model_zoo
    from gcisg_det.lazy import add_method

    model = model_zoo.get_config("common/models/mask_rcnn_vitdet.py").model
    add_method(model, method="gcisg", photometric=(0.4, 0.4, 0.4, 0.1))

`tools/train_net.py` calls :func:`gcisg_det.lazy.train.run` for such a config.
"""

from __future__ import annotations

from gcisg_core.integrations import detectron2 as _repairs  # noqa: F401 - first: Detectron2 0.5 needs it

# isort: split
from .config import as_text, plain, read_config, read_run
from .method import add_method, build_detector

__all__ = ["add_method", "as_text", "build_detector", "plain", "read_config", "read_run"]
