"""The earlier name of :mod:`gcisg_core.nan.record`."""

import warnings

from gcisg_core.nan.record import KIND, load, plain, restore, save, statistics

__all__ = ["KIND", "load", "plain", "restore", "save", "statistics"]
warnings.warn("gcisg_core.records is gcisg_core.nan.record now", DeprecationWarning, stacklevel=2)
