"""What can go wrong, as errors that say what to do. Imports nothing of the package and does no I/O."""


class DevclusterError(Exception):
    """Something that the person at the terminal can act on; printed without a traceback.

    Attributes:
        hint: what to do about it, or empty when the message says it already.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.hint}" if self.hint else message


class UnsupportedHostError(DevclusterError):
    """This machine or user cannot run the cluster."""


class BuildError(DevclusterError):
    """A program or an image could not be built."""


class NoFreeRangeError(DevclusterError):
    """Every block of addresses that a cluster could take is in use on this machine."""


class StartError(DevclusterError):
    """The cluster did not become ready."""


class NotRunningError(DevclusterError):
    """The named cluster is not up."""
