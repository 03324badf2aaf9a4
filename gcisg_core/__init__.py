"""Guided causal-invariant syn-to-real generalization (GCISG, ECCV 2022) in plain PyTorch.

Nothing here imports a framework, except the modules of :mod:`gcisg_core.integrations`.
"""
