"""A cluster's API server over plain HTTP on this machine: a request costs a tenth of what a kubectl does.

For benches and tests that look often. Whoever reaches it has the rights of kubectl while it lasts.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from corefit_devcluster.run import which


@contextmanager
def api_proxy(environment: Mapping[str, str]) -> Iterator[str]:
    """The URL of `kubectl proxy` while the block runs, with the PATH and the KUBECONFIG of this environment."""
    command = [str(which("kubectl", environment)), "proxy", "--port=0", "--address=127.0.0.1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield "http://" + (process.stdout.readline() if process.stdout is not None else "").split()[-1]
        finally:
            process.terminate()
