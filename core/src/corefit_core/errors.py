"""The error tree. It knows no transport: the edges map it to HTTP statuses, conditions and exit codes.

CorefitError
├── InvalidInput            what the caller sent is wrong, and the message names it
│   ├── UnknownModel        no model of that name or version here
│   └── TooLarge            over a limit that can be configured
├── Shed                    refused at once because it could not be answered in time
├── DeadlineExceeded        accepted, but its deadline passed before it got a worker
├── ModelError              the model can't be served
│   ├── ModelUnavailable    it can't be fetched or read
│   ├── ModelTooLarge       it is larger than the container's memory
│   ├── ChecksumMismatch    it was fetched, and is another file than was asked for
│   └── ModelInvalid        onnxruntime refuses it
└── ConfigError             a setting is wrong, and the message names the setting
"""


class CorefitError(Exception):
    """Whatever Corefit itself finds wrong; anything else that is raised is a fault in Corefit."""

    @property
    def reason(self) -> str:
        """The CamelCase reason for conditions, reports and metric labels (Kubernetes API conventions)."""
        return type(self).__name__


class InvalidInput(CorefitError):
    """What the caller sent is wrong; the message names the field and what would be right."""


class UnknownModel(InvalidInput):
    """No model of that name or version is served here."""


class TooLarge(InvalidInput):
    """Over a configured limit; the message names the limit and the setting."""


class Shed(CorefitError):
    """Refused at once, since it could not be answered within the objective.

    Args:
        message: what a person reads.
        cause: a short machine-readable cause (a label of the rejection counter).
        retry_after_s: seconds until a retry has a fair chance.
    """

    def __init__(self, message: str, *, cause: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after_s = retry_after_s


class DeadlineExceeded(CorefitError):
    """The request's deadline passed before a worker was free for it."""


class ModelError(CorefitError):
    """The model can't be served."""


class ModelUnavailable(ModelError):
    """The model can't be fetched or read; the message says from where and why."""


class ModelTooLarge(ModelError):
    """The model is larger than the memory of the container, so it is not fetched."""


class ChecksumMismatch(ModelError):
    """What was fetched is another file than the checksum names."""


class ModelInvalid(ModelError):
    """Fetched and whole, but not a model that onnxruntime loads."""


class ConfigError(CorefitError):
    """A setting is wrong; the message names the setting and its range."""
