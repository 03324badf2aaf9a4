"""Classification on mmengine: VisDA-17 and the miniature benchmark."""
