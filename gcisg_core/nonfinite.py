"""The earlier name of :mod:`gcisg_core.nan.recorder`."""

import warnings

from gcisg_core.nan.recorder import VERSION, Framework, NonFiniteError, StepRecorder, named_losses, nonfinite_gradients

__all__ = ["VERSION", "Framework", "NonFiniteError", "StepRecorder", "named_losses", "nonfinite_gradients"]
warnings.warn("gcisg_core.nonfinite is gcisg_core.nan.recorder now", DeprecationWarning, stacklevel=2)
