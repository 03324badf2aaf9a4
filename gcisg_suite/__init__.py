"""What works over all tasks. No framework, nor torch, is imported before a task asks for it."""
