"""GCISG inside Detectron2: Sim10k to Cityscapes."""
