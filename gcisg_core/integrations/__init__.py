"""Integrations with the frameworks: the only modules of the core that import one."""
