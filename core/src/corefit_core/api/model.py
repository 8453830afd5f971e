"""Which model is served, and where it comes from: the part of the API that speaks of the model.

May not decide anything.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from corefit_core.api.part import ObjectName, Part, rules

_URI: Final = r"^(https?://[^\\s/]+/\\S+|file:///\\S+|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/\\S+)$"

Sha256 = Annotated[
    str,
    Meta(
        description="The SHA-256 of the file. The runtime refuses a file with another checksum. For a model with "
        "external data (weights in files of their own): the checksum over all files, see docs/model-sources.md.",
        max_length=64,
        extra_json_schema=rules(
            ("self.matches('^[0-9a-f]{64}$')", "sha256 must be 64 lower-case hexadecimal digits, as sha256sum says")
        ),
    ),
]
ModelName = Annotated[
    str,
    Meta(
        description="The name of the model in paths, /v2/models/NAME. Without a value, the name of the resource.",
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
        description="Any text. When it changes, Corefit replaces the pods, and the new pods download the model again. "
        "Change it when the file behind the same uri has changed.",
        min_length=1,
        max_length=256,
    ),
]


class Named(Part, frozen=True, kw_only=True):
    """A reference to an object in the same namespace."""

    name: Annotated[ObjectName, Meta(description="The name of the object.")]


class Model(Part, frozen=True, kw_only=True):
    """The model, and where it comes from."""

    uri: Annotated[
        str,
        Meta(
            description="The location of the ONNX file: http(s)://host/path, file:///path in a volume of template, or "
            "pvc://claim/path (the pods mount the PersistentVolumeClaim read-only).",
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
                description="A Secret with the key server (HOST[:PORT]) and either token or username and password. "
                "The runtime sends the credentials to that server only. The kubelet mounts the Secret into the pods; "
                "the operator never reads it."
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
