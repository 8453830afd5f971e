"""The CPU that the kernel really grants this container. Knows no plan."""
