"""The command `corefit-runtime`."""

import asyncio
import contextlib
import logging
import os
import resource
import sys
from typing import NoReturn

# Before anything that might start threads: libraries beside onnxruntime size themselves by the host's cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import uvloop  # noqa: E402 - see above

from corefit_core.errors import ConfigError, CorefitError  # noqa: E402
from corefit_runtime.memory import heap  # noqa: E402
from corefit_runtime.process import logs  # noqa: E402
from corefit_runtime.process.app import App  # noqa: E402
from corefit_runtime.settings import settings  # noqa: E402


def main() -> None:
    """Runs until it is told to stop; exits 2 on a wrong setting."""
    try:
        given = settings.load(sys.argv[1:], os.environ)
    except CorefitError as error:
        _refuse(error)
    logs.configure(given.log_level, given.log_format)
    heap.configure()
    open_files()

    async def serve() -> None:
        await App(given).run()
        # Else asyncio and the interpreter wait for a download or a calibration in a thread: past the grace.
        logging.shutdown()
        os._exit(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve())
        except ConfigError as error:
            _refuse(error)


def open_files() -> None:
    """Takes as many open files as the process may have.

    At the usual 1,024 the clients of the serving port alone could take all of them, and a probe would not be accepted.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # some systems call the limit infinite, and grant less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _refuse(error: CorefitError) -> NoReturn:
    print(f"corefit-runtime: {error}", file=sys.stderr)
    raise SystemExit(2) from None
