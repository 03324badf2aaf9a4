"""Grids of experiments over seeds."""
