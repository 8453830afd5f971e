"""What it costs to simulate a day of 200 requests a second under one policy, in CPU seconds of one core.

python bench/autoscale/day.py [POLICY] [HOURS]
"""

import sys
import time

from corefit.simulate import synthetic
from corefit.simulate.outcome import Setting
from corefit.simulate.run import simulate

RATE, WARM_S = 200.0, 300


def main() -> None:
    """Compile on a small trace, then take the time; what is measured of fewer hours is given for a day."""
    policy = sys.argv[1] if len(sys.argv) > 1 else "corefit"
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else 24.0
    simulate(policy, synthetic.trace("constant", RATE, WARM_S), Setting())
    # The diurnal shape has six tenths of its peak on average.
    trace = synthetic.trace("diurnal", RATE / 0.6, round(3600 * hours))
    begin = time.process_time()
    simulate(policy, trace, Setting())
    spent = time.process_time() - begin
    print(f"{policy}: {spent:.1f} s of CPU for {hours:g} h of {len(trace.arrivals) / trace.duration_s:.0f} requests/s")


if __name__ == "__main__":
    main()
