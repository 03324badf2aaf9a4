"""Classification on mmengine: VisDA-17 and the miniature benchmark. Importing it registers everything."""

from gcisg_cls import backbones, classifier, datasets, metrics, self_training, views
from gcisg_core.integrations import mmengine
from gcisg_suite.selection import mmengine_hook

__all__ = ["backbones", "classifier", "datasets", "metrics", "mmengine", "mmengine_hook", "self_training", "views"]
