"""Sweeps: several configs trained and evaluated over several seeds."""
