"""The process from start to end: it makes everything and hands it to what uses it."""
