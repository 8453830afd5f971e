"""Rolls pods when the operator changed and not their resource: a few resources at a time.

Another version or configuration of the operator may want another pod template. Whoever changed nothing should not see
all of their services roll at once, and a template that doesn't work stops at the first ones. May not do I/O.
"""

from collections.abc import Mapping, Sequence

from corefit_core.manifest import Manifest
from corefit_core.naming import ANNOTATION_APPLIED, ANNOTATION_SPEC_HASH
from corefit_operator.cache.view import Key
from corefit_operator.kube.workloads import Child

Id = tuple[str, str]
"""Kind and name of a child."""


class Upgrades:
    """Hands out the turns; they are forgotten with the process, and each resource holds at most one.

    One namespace never holds the last of several: were its pods broken, it would hold it for as long as they are.

    Args:
        at_once: how many resources may be rolled at a time on the operator's account.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._rolling: set[Key] = set()

    def due(self, key: Key, wanted: Sequence[Manifest], found: Mapping[Id, Child]) -> Sequence[Manifest]:
        """The children that may be written now: all but Deployments that wait for their resource's turn.

        A turn lasts until every pod of each Deployment is of the new template. A Deployment that isn't complete anyway
        has no pod to lose by going at once, and would hold its turn for as long as it is broken.
        """
        deployments = [(child, found.get(_id(child))) for child in wanted if child["kind"] == "Deployment"]
        outdated = [child for child, known in deployments if _by_operator(child, known)]
        if outdated and key not in self._rolling and self._taken(key.namespace):
            return [child for child in wanted if child not in outdated]
        if outdated:
            self._rolling.add(key)
        elif all(known is not None and known.complete for _, known in deployments):
            self.forget(key)
        return wanted

    def _taken(self, namespace: str) -> bool:
        """Whether there is no turn for another resource of a namespace."""
        own = sum(key.namespace == namespace for key in self._rolling)
        return len(self._rolling) >= self._at_once or own >= max(1, self._at_once - 1)

    def forget(self, key: Key) -> None:
        """The resource is rolled, gone, paused, or may not be rolled as it is: its turn goes to another."""
        self._rolling.discard(key)


def _id(manifest: Manifest) -> Id:
    return manifest["kind"], manifest["metadata"]["name"]


def _by_operator(wanted: Manifest, found: Child | None) -> bool:
    """Whether a complete Deployment is to be rolled although what the resource asks for has not changed."""
    if found is None or not found.complete:
        return False
    new, old = wanted["metadata"]["annotations"], found.metadata.annotations
    asked = old.get(ANNOTATION_SPEC_HASH, new[ANNOTATION_SPEC_HASH])  # a version before this one wrote none
    changed = bool(old.get(ANNOTATION_APPLIED)) and old[ANNOTATION_APPLIED] != new[ANNOTATION_APPLIED]
    return changed and asked == new[ANNOTATION_SPEC_HASH]
