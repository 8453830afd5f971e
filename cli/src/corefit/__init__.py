"""The Corefit command line: plan, simulate, load, inject, demo."""
