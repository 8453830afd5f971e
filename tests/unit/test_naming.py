"""Names of children: valid whatever the service is called, and never the same for two services."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core import naming

LONGEST_CHILD = 46
subdomains = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True)


@given(subdomains)
def test_a_child_name_is_a_label_with_room_for_a_pods_suffix(service: str) -> None:
    name = naming.child_name(service)
    assert naming.is_rfc1035_label(name)
    assert len(name) <= LONGEST_CHILD
    assert naming.selector(service) == {naming.LABEL_SERVICE: name}


@given(subdomains, subdomains)
def test_two_services_never_share_a_child(one: str, other: str) -> None:
    if one != other:
        assert naming.child_name(one) != naming.child_name(other)


def test_a_short_name_stays() -> None:
    assert naming.child_name("resnet") == "resnet"


def test_a_name_that_begins_with_a_digit_gets_a_letter() -> None:
    """As a Service it is refused by Kubernetes before 1.36."""
    assert naming.child_name("7b-chat") == "s-7b-chat-e14c5e17"


def test_a_name_that_is_no_label_stays_readable() -> None:
    name, digest = naming.child_name("a.b").rsplit("-", 1)
    assert (name, len(digest)) == ("a-b", 8)


def test_what_is_no_label() -> None:
    for name in ("", "7b", "-a", "a-", "A", "a.b", "a" * 64, "a\n"):
        assert not naming.is_rfc1035_label(name)


def test_the_longest_names_that_kubernetes_takes() -> None:
    assert naming.is_rfc1035_label("a" * 63)
    assert naming.is_object_name("a" * 253)
    assert not naming.is_object_name("a" * 254)


@pytest.mark.parametrize("name", ["a", "7b", "a.b", "a-b.c-d", "a--b"])
def test_what_an_object_may_be_called(name: str) -> None:
    assert naming.is_object_name(name)


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", ".a", "a.", "a..b", "a/b", "../a", "a\n", "a_b"])
def test_what_no_object_is_called(name: str) -> None:
    """Names become segments of API paths."""
    assert not naming.is_object_name(name)


def test_the_longest_resource_whose_children_bear_its_own_name() -> None:
    """46 characters: with the 17 that a ReplicaSet's pods get these are the 63 of a label."""
    longest = "a" * LONGEST_CHILD
    assert naming.child_name(longest) == longest
    cut = naming.child_name(f"{longest}a")
    assert len(cut) == LONGEST_CHILD
    assert cut.startswith("a" * 37 + "-")


@given(subdomains)
def test_names_of_the_balancers_objects_are_labels_too(service: str) -> None:
    for name in (naming.balancer_name(service), naming.pods_service_name(service)):
        assert naming.is_rfc1035_label(name)
        assert name.startswith(naming.child_name(service))
    assert naming.balancer_name("digits") == "digits-balancer"
    assert naming.pods_service_name("digits") == "digits-pods"


def test_a_declared_volume_that_is_too_long_is_cut_and_told_from_others() -> None:
    fits = "v" * 48
    assert naming.volume_name(fits) == f"corefit-volume-{fits}"
    one, other = naming.volume_name(f"{fits}a"), naming.volume_name(f"{fits}b")
    assert one != other
    assert len(one) == len(other) == 63
    at_a_dash = naming.volume_name("v" * 38 + "-" + "v" * 20)
    assert "--" not in at_a_dash


def test_a_pod_says_which_model_it_serves_and_its_revision_where_there_is_one() -> None:
    assert naming.model_annotations("http://m/a", "") == {naming.ANNOTATION_MODEL: "http://m/a"}
    both = {naming.ANNOTATION_MODEL: "http://m/a", naming.ANNOTATION_REVISION: "2"}
    assert naming.model_annotations("http://m/a", "2") == both


def test_the_runtimes_ports_beside_an_application_are_none_of_its_usual_ones() -> None:
    beside = {naming.SIDECAR_PORT_HTTP, naming.SIDECAR_PORT_ADMIN, naming.SIDECAR_PORT_CONTROL}
    assert beside == {18080, 18081, 18082}
    assert len({naming.PORT_HTTP, naming.PORT_ADMIN, naming.PORT_AGENT} | beside) == 6


def test_the_page_on_security_has_the_ports_of_a_pod() -> None:
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    what = {int(port): row for port, row in re.findall(r"^\| (\d{4}) \|(.*)\|$", page, re.MULTILINE)}
    assert "ask the model" in what[naming.PORT_HTTP]
    assert "health, counts, metrics" in what[naming.PORT_ADMIN]
    assert "how much the pod can take" in what[naming.PORT_AGENT]
    sidecar = (naming.SIDECAR_PORT_HTTP, naming.SIDECAR_PORT_ADMIN, naming.SIDECAR_PORT_CONTROL)
    assert "In a sidecar they are {} (the pod itself), {} and {}.".format(*sidecar) in page
    assert len({naming.PORT_HTTP, naming.PORT_ADMIN, naming.PORT_AGENT, *sidecar}) == 6
