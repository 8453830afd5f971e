"""What all tests share: the programs of this environment, and Hypothesis without deadlines.

The tests run `corefit`, `corefit-devcluster` and others by name. Where a person starts `.venv/bin/pytest`, these
programs are next to pytest and not in PATH. Deadlines: the machine's cores are shared with neighbours.
"""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")
