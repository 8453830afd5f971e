"""Commands of code blocks that no test runs as they are, each with the reason. Reviewed by hand; keep it short."""

import re
from typing import Final

UNRUN: Final = {
    r"make setup\b": "the tests run in the environment that it makes",
    r"\. \.venv/bin/activate": "the tests run in that environment already",
    r"make demo\b": "it makes a cluster of its own and takes minutes; tests/unit/test_demo.py has its parts",
    r"make test\b": "this is it",
    r"(.*\$\()?corefit-devcluster\b": "it makes and ends clusters: tests/devcluster runs it",
    r'eval "\$\(corefit-devcluster\b': "it makes and ends clusters: tests/devcluster runs it",
    r"docker build\b": "no machine of ours has Docker",
    r"corefit simulate trace\.txt": "the trace is the reader's",
    r"corefit-runtime --model model\.onnx": "it runs until it is ended: tests/runtime starts it",
    r"python3 export_torch\.py": "PyTorch is larger than all that the tests need together",
    r"kubectl delete (cfis --all|crd|namespace corefit-system)": "it would end what the other tests look at",
    r"helm uninstall corefit\b": "it would end the operator of the other tests: tests/e2e/test_chart.py does it",
}
"""Pattern that a command begins with: why it is not run."""


def reason(text: str) -> str:
    """Why a command isn't run; empty for one that is."""
    return next((why for pattern, why in UNRUN.items() if re.match(pattern, text)), "")
