"""The data formats that `gcisg new-project` reads: one table, one reader for each format. No framework is needed."""
