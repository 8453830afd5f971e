"""Defaults that more than one part computes with or states; a field's own default stands in `api`. May not do I/O."""

from typing import Final

DOWN_STABILIZATION_S: Final = 60.0
"""Seconds that replicas stay after they were needed, where a resource says nothing else and a start-up takes no more
than half of that. Knative's stable window: load that comes and goes within a minute is noise."""
