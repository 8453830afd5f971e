"""After all other tests: what the operator asked of the API server in the whole run, against what it may ask.

The audit log of the development cluster has each request of every ServiceAccount. Both ways: nothing was forbidden,
and nothing is granted that no test made it use. The file's name puts it last.
"""

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.cluster
ACCOUNT = "system:serviceaccount:corefit-system:corefit"
ASKED_BY_ADMISSION = {("serving.corefit.dev", "inferenceservices/finalizers", "update")}
"""What the API server itself asks the authorizer on the operator's behalf (OwnerReferencesPermissionEnforcement, for
blockOwnerDeletion), so that no request ever bears it."""


class Use(NamedTuple):
    """One request's right."""

    group: str
    resource: str
    verb: str


def _audit_log() -> Path:
    import os

    from corefit_devcluster.paths import Home

    return Home.of(os.environ).cluster(os.environ.get("COREFIT_TEST_CLUSTER", "e2e")).audit


def _requests(user: str) -> Iterator[tuple[Use, bool, str]]:
    """Each request: what it used, whether the authorizer refused it, and its URI."""
    kept = sorted(_audit_log().parent.glob("audit*.log"))  # the API server begins a new one at 100 MB
    # The last line may be about to be written.
    for line in (line for path in kept for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")):
        event = json.loads(line)
        reference = event.get("objectRef")
        if event["user"]["username"] != user or not reference or event["stage"] != "ResponseComplete":
            continue
        sub = reference.get("subresource")
        resource = reference["resource"] + (f"/{sub}" if sub else "")
        # Not by the status: admission says 403 as well, of a namespace that is about to go for one.
        refused = event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
        used = Use(reference.get("apiGroup", ""), resource, event["verb"])
        yield used, refused, event["requestURI"]
        if (used.verb, event["responseStatus"]["code"]) == ("patch", HTTPStatus.CREATED):
            # Server-side apply of what was not there: a patch in the log, and the authorizer is asked for both.
            yield used._replace(verb="create"), refused, event["requestURI"]


def _granted(kube: Any) -> set[Use]:
    found = set()
    for binding_kind, role_kind in (("clusterrolebindings", "clusterrole"), ("rolebindings", "role")):
        for binding in json.loads(kube.run("kubectl", "get", binding_kind, "-A", "-o", "json").stdout)["items"]:
            subjects = {f"system:serviceaccount:{s.get('namespace')}:{s['name']}" for s in binding.get("subjects", ())}
            if ACCOUNT in subjects:
                where = ("-n", binding["metadata"]["namespace"]) if role_kind == "role" else ()
                name = binding["roleRef"]["name"]
                role = json.loads(kube.run("kubectl", "get", role_kind, name, *where, "-o", "json").stdout)
                found |= {
                    Use(group, resource, verb)
                    for rule in role["rules"]
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return found


def test_no_wildcard_and_no_secret_is_granted(operator: Any) -> None:
    granted = _granted(operator)
    assert granted
    assert not any("*" in use for use in granted)
    assert not any(use.resource == "secrets" for use in granted)


def test_nothing_was_forbidden_and_what_was_used_is_granted(operator: Any) -> None:
    if not _audit_log().exists():
        pytest.skip("a cluster of one's own: its audit log is elsewhere")
    seen = list(_requests(ACCOUNT))
    assert seen
    assert [(use, uri) for use, refused, uri in seen if refused] == []
    unknown = {use for use, _, _ in seen} - _granted(operator)
    # Discovery and the like: what every account may do.
    assert unknown == set()


def test_nothing_is_granted_that_no_test_made_it_use(operator: Any, request: pytest.FixtureRequest) -> None:
    if not _audit_log().exists():
        pytest.skip("a cluster of one's own: its audit log is elsewhere")
    collected = {Path(item.path).name for item in request.session.items}
    if not collected >= {path.name for path in Path(__file__).parent.glob("test_*.py")}:
        pytest.skip("only after a run of all end-to-end tests")
    used = {use for use, _, _ in _requests(ACCOUNT)}
    assert _granted(operator) - used == {Use(*use) for use in ASKED_BY_ADMISSION}
