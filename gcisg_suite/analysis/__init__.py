"""Analysis of trained models of any task: comparison, pictures, one page to read."""
