"""`kubectl proxy` for who looks often: the URL that it says, the PATH that it is found by, and its end."""

import os
import signal
from pathlib import Path

import pytest

from corefit_devcluster.api_proxy import api_proxy

SAYS = "Starting to serve on 127.0.0.1:4711"


def test_the_url_is_the_one_that_kubectl_says_and_it_ends_with_the_block(tmp_path: Path) -> None:
    kubectl, pid = tmp_path / "kubectl", tmp_path / "pid"
    kubectl.write_text(f'#!/bin/sh\necho $$ > {pid}\necho "{SAYS}"\nexec sleep 600\n')
    kubectl.chmod(0o755)
    with api_proxy({"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as url:
        assert url == "http://127.0.0.1:4711"
        os.kill(int(pid.read_text()), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
