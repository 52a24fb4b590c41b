"""A degraded photograph becomes a clean one."""
