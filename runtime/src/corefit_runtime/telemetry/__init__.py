"""What the process counts and says of itself: counters, the report, metrics."""
