"""`python -m corefit.demo`, the same as `corefit demo`."""

import sys

from corefit.main import main

sys.exit(main(["demo", *sys.argv[1:]]))
