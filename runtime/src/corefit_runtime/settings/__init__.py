"""The settings of the process: command-line options and environment variables."""
