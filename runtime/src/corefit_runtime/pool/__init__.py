"""The queue and the workers: which request runs when, with which others, on which thread. Knows no protocol."""
