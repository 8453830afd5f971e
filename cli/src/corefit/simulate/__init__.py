"""The simulator: what a trace of requests would have cost, and how it would have been served, under a policy."""
