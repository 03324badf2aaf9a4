"""The miniature benchmark: a small synthetic-to-real gap that needs no download."""
