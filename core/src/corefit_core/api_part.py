"""What the structs of the API share. May not do anything else."""

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all parts share: immutable, camelCase on the wire."""
