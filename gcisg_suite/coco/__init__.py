"""The reader of detection data in COCO's JSON format. Audit, training and evaluation all use it."""
