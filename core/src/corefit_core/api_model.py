"""Which model is served, and where it comes from: the part of the API that speaks of the model.

May not decide anything.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from corefit_core.api_part import ObjectName, Part, rules

_URI: Final = r"^(https?://[^\\s/]+/\\S+|file:///\\S+|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/\\S+)$"

Sha256 = Annotated[
    str,
    Meta(
        description="SHA-256 of the file; another file is refused. Where weights are in other files "
        "(ONNX external data), the checksum that covers all of them: see docs/model-sources.md.",
        max_length=64,
        extra_json_schema=rules(
            ("self.matches('^[0-9a-f]{64}$')", "sha256 must be 64 lower-case hexadecimal digits, as sha256sum says")
        ),
    ),
]
ModelName = Annotated[
    str,
    Meta(
        description="Name in the protocol's paths, /v2/models/NAME; the resource's name when it is left out.",
        max_length=63,
        extra_json_schema=rules(
            (
                "self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')",
                "name must be letters, digits, '.', '_' and '-', and begin and end with a letter or digit",
            )
        ),
    ),
]


Revision = Annotated[
    str,
    Meta(
        description="Any text. Change it to have pods replaced by ones that fetch the model anew, where its content "
        "has changed and its uri has not.",
        min_length=1,
        max_length=256,
    ),
]


class Named(Part, frozen=True, kw_only=True):
    """A reference by name within the namespace."""

    name: Annotated[ObjectName, Meta(description="Its name.")]


class Model(Part, frozen=True, kw_only=True):
    """Which model is served."""

    uri: Annotated[
        str,
        Meta(
            description="Where the ONNX file is: http(s)://host/path, file:///path in a volume of the pod "
            "template, or pvc://claim/path (the claim is mounted read-only).",
            min_length=1,
            max_length=2048,
            extra_json_schema=rules(
                (f"self.matches('{_URI}')", "uri must be http(s)://host/path, file:///path or pvc://claim/path"),
                (
                    "!self.matches('^https?://[^/]*@')",
                    "uri must not hold a user or password: name a Secret in credentialsSecret",
                ),
            ),
        ),
    ]
    sha256: Sha256 | UnsetType = UNSET
    revision: Revision | UnsetType = UNSET
    name: ModelName | UnsetType = UNSET
    credentials_secret: (
        Annotated[
            Named,
            Meta(
                description="Secret with server (the HOST[:PORT] that it is for), and token, or username and password. "
                "It is sent to no other server. The kubelet mounts it into the pods; the operator does not read it."
            ),
        ]
        | UnsetType
    ) = UNSET


MODEL_RULES: Final = (
    (
        "!has(self.credentialsSecret) || self.uri.startsWith('http')",
        "credentialsSecret is for a uri that begins with http:// or https://",
    ),
)
"""Of `Model`: (expression that must hold, message when it doesn't)."""
