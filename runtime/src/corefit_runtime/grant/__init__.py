"""The CPU that the kernel really gives this container. Knows no plan."""
