"""What is served at this moment. `lifecycle` publishes it, everybody else reads it.

Imports neither numpy nor onnxruntime: the report is there before they are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from corefit_core.report import PlanInForce, ServiceTime

if TYPE_CHECKING:
    from corefit_runtime.pool.model import Model
    from corefit_runtime.protocol.codec import Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Servable:
    """A model that is loaded and warm, with what it is served by.

    Attributes:
        codec: of its requests and responses.
        plan: the plan in force.
        profile: calibrated service times.
    """

    model: "Model"
    codec: "Codec"
    plan: PlanInForce
    profile: tuple[ServiceTime, ...] = ()


class Published:
    """The servable in force, exchanged as a whole.

    Attributes:
        servable: None until a model is loaded and warm.
        notes: findings that a person should see, by a short key.
    """

    def __init__(self) -> None:
        self.servable: Servable | None = None
        self.notes: dict[str, str] = {}

    def publish(self, servable: Servable) -> None:
        """From now on requests run on this one."""
        self.servable = servable

    def note(self, key: str, text: str) -> None:
        """Says something new by this key; nothing any more where the text is empty."""
        self.notes.pop(key, None)
        if text:
            self.notes[key] = text
