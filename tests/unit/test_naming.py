"""Names of children: valid whatever the service is called, and never the same for two services."""

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


def test_what_is_no_label() -> None:
    for name in ("", "7b", "-a", "a-", "A", "a.b", "a" * 64, "a\n"):
        assert not naming.is_rfc1035_label(name)
