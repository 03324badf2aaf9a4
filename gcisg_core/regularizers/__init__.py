"""Methods that regularise training on synthetic images, one a file."""
