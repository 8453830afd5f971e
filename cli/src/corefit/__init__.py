"""The Corefit command line: plan, simulate, profile, top."""
