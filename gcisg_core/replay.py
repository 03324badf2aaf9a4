"""The earlier name of :mod:`gcisg_core.nan.replay`."""

import warnings

from gcisg_core.nan.replay import Replay, replay, table

__all__ = ["Replay", "replay", "table"]
warnings.warn("gcisg_core.replay is gcisg_core.nan.replay now", DeprecationWarning, stacklevel=2)
