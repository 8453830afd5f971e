"""What the process is told when it starts: options and environment variables."""
