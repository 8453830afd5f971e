"""kopf as the informer: it lists and watches, and what it hears goes into the view and makes resources dirty.

Only raw events and index functions: kopf then writes nothing to the cluster, neither finalizers nor annotations.
The index functions fill the view while the first lists arrive; kopf holds every event handler back until all of
them are complete, so that no reconcile starts from half a view. May not decide anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import kopf

from corefit_core.errors import CorefitError
from corefit_core.naming import GROUP, LABEL_SERVICE, PLURAL, VERSION
from corefit_operator.cache.view import Key, View, spec_version
from corefit_operator.concurrency.tasks import first_ended
from corefit_operator.kube.metadata import Meta, decoded_or_none
from corefit_operator.kube.paths import CHILD_KINDS, PATHS
from corefit_operator.kube.pods import decode_pod
from corefit_operator.kube.workloads import decode_child

LOG: Final = logging.getLogger(__name__)
EXIT_S: Final = 20.0
"""Seconds that kopf may take to end before it ends the process; under a pod's usual 30 s of grace."""

Login = Callable[[], Awaitable[kopf.ConnectionInfo]]
Dirty = Callable[[Key], None]
Relisted = Callable[[], None]


class WatchFailed(CorefitError):
    """kopf gave a watch up; the process ends, says so last, and is started again.

    What it logs before, "generator didn't stop after athrow()", is asyncio's closing of kopf's nested generators all at
    once, and no cause of anything.
    """


class Informer:
    """Feeds a view, and says which resources became dirty.

    Args:
        relisted: called with each object that came from a list, not from a watch.
        login: gives kopf its way to the API server.
    """

    def __init__(self, view: View, dirty: Dirty, relisted: Relisted, login: Login) -> None:
        self._view = view
        self._dirty = dirty
        self._relisted = relisted
        self._login = login
        self._asked: dict[Key, tuple[object, ...]] = {}

    async def run(self, namespaces: Sequence[str], started: asyncio.Event, spawned: Callable[[], None]) -> None:
        """Watches until it is cancelled, or until a watch fails.

        kopf's own way of ending is not used: it waits 5 s for every task of the process, whoever's it is.

        Args:
            namespaces: to watch; empty for all.
            started: set once watching has begun.
            spawned: called when kopf has taken the process's signals for itself, which are not its to take.

        Raises:
            WatchFailed: what is known of the cluster goes out of date from now on.
        """
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=_settings(),
            standalone=True,
            # Otherwise kopf asks for the user's name, and a pod's numeric user has none. Its type is not exported.
            identity="corefit-operator",  # type: ignore[arg-type]
            clusterwide=not namespaces,
            namespaces=tuple(namespaces),
            ready_flag=started,
        )
        spawned()
        try:
            await first_ended(tasks)
        except CorefitError:
            raise
        except Exception as error:
            raise WatchFailed(f"watching failed, and begins anew after a restart: {error!r}") from error

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await self._login()

        kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY)(login)
        self._register(registry, (GROUP, VERSION, PLURAL), self._put_service, self._service_event)
        self._register(registry, ("", "v1", "pods"), self._put_pod, self._pod_event)
        for kind in CHILD_KINDS:
            self._register(registry, _resource(kind), *self._child_handlers(kind))
        return registry

    def _register(
        self,
        registry: kopf.OperatorRegistry,
        resource: tuple[str, str, str],
        put: Callable[[Mapping[str, Any]], None],
        event: Callable[[str | None, Mapping[str, Any]], None],
    ) -> None:
        async def index(body: kopf.Body, **_: Any) -> None:
            put(dict(body))

        async def on_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name for it
            event(type, dict(body))
            if type is None:
                self._relisted()

        group, version, plural = resource
        id_ = plural
        kopf.index(group=group, version=version, plural=plural, id=id_, registry=registry)(index)
        kopf.on.event(group=group, version=version, plural=plural, id=id_, registry=registry)(on_event)

    def _put_service(self, raw: Mapping[str, Any]) -> None:
        self._view.put_service(raw)

    def _service_event(self, type_: str | None, raw: Mapping[str, Any]) -> None:
        """Wakes the reconcile when the spec has changed: every write of a status comes back as an event too."""
        if type_ == "DELETED":
            key = self._view.drop_service(raw)
            self._asked.pop(key, None)
            self._dirty(key)
            return
        key = self._view.put_service(raw)
        if self._asked.get(key) != spec_version(raw):
            self._asked[key] = spec_version(raw)
            self._dirty(key)

    def _put_pod(self, raw: Mapping[str, Any]) -> None:
        pod = decoded_or_none(decode_pod, raw)
        if pod is not None:
            self._view.put_pod(pod)

    def _pod_event(self, type_: str | None, raw: Mapping[str, Any]) -> None:
        pod = decoded_or_none(decode_pod, raw)
        if pod is None:
            return
        if type_ == "DELETED":
            self._view.drop_pod(pod)
        self._wake(pod.metadata)

    def _child_handlers(
        self, kind: str
    ) -> tuple[Callable[[Mapping[str, Any]], None], Callable[[str | None, Mapping[str, Any]], None]]:
        read = partial(decode_child, kind)

        def put(raw: Mapping[str, Any]) -> None:
            child = decoded_or_none(read, raw)
            if child is not None:
                self._view.put_child(child)

        def event(type_: str | None, raw: Mapping[str, Any]) -> None:
            child = decoded_or_none(read, raw)
            if child is None:
                return
            if type_ == "DELETED":
                self._view.drop_child(child)
            self._wake(child.metadata)

        return put, event

    def _wake(self, meta: Meta) -> None:
        owner = self._view.owner(meta)
        if owner is not None:
            self._dirty(owner)


def _resource(kind: str) -> tuple[str, str, str]:
    base, plural = PATHS[kind]
    group_version = base.split("/")[1:]
    group, version = group_version if len(group_version) > 1 else ("", group_version[0])
    return group, version, plural


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # the recorder's work
    settings.scanning.disabled = True  # reading CRDs and namespaces would need rights that nothing else needs
    settings.process.ultimate_exiting_timeout = EXIT_S
    # One number for all kinds: a page is in memory whole, and an InferenceService may have 1.5 MB.
    settings.watching.chunk_size = 100
    # An object's last event is held so long after it was handled.
    settings.queueing.idle_timeout = 0.5
    for kind in (*CHILD_KINDS, "Pod"):
        settings.watching.label_selectors[_resource(kind)] = LABEL_SERVICE
    return settings
