"""The admin and the control port: what others ask of the process, and what they may change."""
