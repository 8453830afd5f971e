"""The spans of time over which load is averaged, remembered and waited for. May not hold anything but these six.

Each is three to five times the one before: the fewest by which one of them is within a factor of two of any period from
some seconds to an hour.
"""

from typing import Final

RECENT_S: Final = 5.0
"""What is there at the moment: at ten Erlangs of 50 ms the mean's standard error is 3 %. A queue, which an objective
bounds, bridges less, and a longer mean hides the height of a spike."""
FAST_S: Final = 15.0
"""One second of ten requests is a third noise; fifteen are 8 %, less than a pod of most services."""
SLOW_S: Final = 60.0
"""A minute, Knative's stable window: load that comes and goes within it is noise around a level. A person's glance back
at latencies. Nodes free up when other pods end, which takes minutes, so what was refused is tried again after it."""
LONG_S: Final = 300.0
"""A new mix of requests shows in the service times within minutes."""
LONGEST_S: Final = 900.0
"""Crowds that come back within it are provided for."""
MEMORY_S: Final = 3600.0
"""After an hour what was learned counts half: a burst that comes each hour is still expected the next time, and what
was overspent this hour is made good in the next."""
