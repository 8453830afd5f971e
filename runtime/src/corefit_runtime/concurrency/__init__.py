"""Helpers for work on the event loop that know nothing of what the work is."""
