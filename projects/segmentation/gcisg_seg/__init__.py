"""GCISG inside MMSegmentation: GTAV to Cityscapes."""
