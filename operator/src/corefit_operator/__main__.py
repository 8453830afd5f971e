import sys

from corefit_operator.main import main

sys.exit(main())
