"""Paths of the API: a name stays one segment, whatever it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.errors import InvalidInput
from corefit_operator.kube import paths

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@given(st.text())
def test_a_name_is_one_segment_or_refused(name: str) -> None:
    try:
        path = paths.path("Deployment", "team-a", name)
    except InvalidInput:
        return
    assert path == f"apis/apps/v1/namespaces/team-a/deployments/{name}"
    assert not set(name) & set("/?#%. \\") - {"."}
    assert ".." not in name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../deployments?watch=true", "../../team-b/deployments/x", "a/b", "a%2fb", "a?b", "A", "a\n"],
)
def test_what_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not the name of a Kubernetes object"):
        paths.path("Deployment", "team-a", name)
    with pytest.raises(InvalidInput, match="is not the name of a Kubernetes object"):
        paths.path("Deployment", name, "web")


@given(NAMES, NAMES)
def test_metrics_tell_apart_kinds_and_never_names(namespace: str, name: str) -> None:
    """A namespace called `services` made a label of each name in it."""
    assert paths.resource(paths.path("Deployment", namespace, name)) == "deployments"
    assert paths.resource(f"{paths.path('Deployment', 'services', name)}/scale") == "deployments/scale"
    assert paths.resource(paths.path("InferenceService", "pods", name)) == "inferenceservices"
    assert paths.resource(paths.path("Pod", None)) == "pods"
    assert paths.resource(paths.path("Node", None, name)) == "nodes"
