"""The NaN recorder: it watches training steps, records a failed one in a file, and replays it."""
