"""Where models come from: fetched, read, checked, and held. Knows no engine."""
