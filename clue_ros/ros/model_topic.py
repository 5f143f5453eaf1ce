"""`model`: which weights decide, latched, for everyone who keeps a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.node import Node

from clue_ros.msg import ModelProvenance
from clue_ros.ros.qos import LATCHED
from clue_ros.ros.worker import Engine
from clue_ros.types import ModelError

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from clue_ros.provenance import Provenance


class ModelTopic:
    """Publishes `model` for a node.

    known: of the model that is loaded, None while none is. failure: why it could not be loaded, "" if that did not happen.
    """

    def __init__(self, node: Node):
        self.known: Provenance | None = None
        self.failure = ""
        self._log = node.get_logger()
        self._publisher = node.create_publisher(ModelProvenance, "model", LATCHED)

    def loaded(self, name: str, engine: Engine) -> None:
        """A model was loaded by that name. Reads its files once more: about a second for each gigabyte."""
        from clue_ros.pipeline import Clue
        from clue_ros.provenance import describe
        self.failure = ""
        if not isinstance(engine, Clue):
            return  # an engine of another making was not read from a model folder
        try:
            self.known = describe(name, engine)
        except (ModelError, OSError) as error:
            self._log.warning(f"the model's files cannot be hashed, so `model` does not tell of them: {error}")
            return
        self._publisher.publish(provenance_message(self.known))

    def unloaded(self, failure: str = "") -> None:
        """No model is loaded any more, or it could not be: nobody must take the last one for one that still decides."""
        self.known, self.failure = None, failure
        self._publisher.publish(ModelProvenance())


def provenance_message(known: Provenance) -> ModelProvenance:
    """The message of a model."""
    return ModelProvenance(
        model=known.model, folder=str(known.folder), files=[line for lines in known.files.values() for line in lines],
        base_sha256=known.digest("base"), adapter_sha256=known.digest("adapter"),
        detector_sha256=known.digest("detector"), threshold=known.threshold, calibration=known.calibration,
        device=known.device, dtype=known.dtype, versions=list(known.versions), commit=known.commit)
