"""One reader of detection data in COCO's JSON format: what is audited is what is trained and evaluated on."""
