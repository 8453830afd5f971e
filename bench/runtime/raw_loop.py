"""The yardstick: onnxruntime in a loop, in its own process, no server at all.

Protocol with its parent: prints `ready`; for each line with a number of seconds, runs that long and prints a JSON
line with the runs made and the seconds they took.
"""

import gc
import json
import sys
import time
from pathlib import Path

from bench.models.cost import feeds, session


def main() -> int:
    """Loop on demand until stdin ends."""
    runner = session(Path(sys.argv[1]).read_bytes())
    inputs = feeds(runner)
    for _ in range(10):
        runner.run(None, inputs)
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        count, begin = 0, time.monotonic()
        end = begin + float(line)
        while time.monotonic() < end:
            runner.run(None, inputs)
            count += 1
        print(json.dumps({"count": count, "seconds": time.monotonic() - begin}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
