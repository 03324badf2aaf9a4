"""Choosing a checkpoint of a run without target labels."""
