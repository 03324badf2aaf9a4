"""The NaN recorder: what watches a step, the file that it writes, and the step run again."""
