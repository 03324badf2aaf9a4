"""The formats of data that `gcisg new-project` takes: one table, a reader each. No framework is needed."""
