"""GCISG in MMSegmentation: segmentors with a method, and data sets such as GTAV and Cityscapes."""

from gcisg_core.integrations import openmmlab as openmmlab  # first: mmseg 1.2 needs it where mmcv has no operators
