"""The action `ground`: an instruction as a goal, in the same session as those that come by topic."""

from __future__ import annotations

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from clue_ros.action import Ground
from clue_ros.ros.outputs import grounded_message, verdict_message
from clue_ros.ros.place import Place
from clue_ros.ros.request import Asked, Event, Finished, Note, Outcome
from clue_ros.ros.worker import Desk


RESULTS_KEPT = 900  # seconds that a result can be asked for


class GroundAction:
    """Every goal is accepted and becomes a request, whose one outcome is the goal's result.

    For a node that is spun by a single-threaded executor: a goal is cancelled in the session before rclpy notes it.
    """

    def __init__(self, place: Place, desk: Desk):
        self._node, self._desk = place.node, desk
        self._running: dict[str, tuple[ServerGoalHandle, Future]] = {}
        self._server = ActionServer(place.node, Ground, place.topic("ground"), self._finish,
                                    handle_accepted_callback=self._begin, cancel_callback=self._cancel,
                                    result_timeout=RESULTS_KEPT)

    def tell(self, event: Event) -> None:
        """An event of the session; those of other requests are passed over. Safe to call on any thread."""
        goal, end = (None, None) if isinstance(event, Note) else self._running.get(event.request.identity, (None, None))
        if goal is not None and isinstance(event, Asked):
            goal.publish_feedback(Ground.Feedback(request_id=event.request.identity, question=event.question,
                                                  verdict=verdict_message(event.request)))
        elif goal is not None and isinstance(event, Finished):
            end.set_result(event)
            if self._node.executor is not None:
                self._node.executor.wake()  # it looks at a waiting goal only when something else happens

    def destroy(self) -> None:
        """Take the action off the network."""
        self._server.destroy()

    def _begin(self, goal: ServerGoalHandle) -> None:
        self._running[_identity(goal)] = (goal, Future())
        goal.execute()
        self._desk.handle(lambda now: self._desk.session.instruct(goal.request.instruction, now, _identity(goal)))

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        """A goal whose request was superseded a moment ago is accepted, too, and then aborted: of several goals to cancel at once rclpy
        passes over the one after each that is rejected."""
        self._desk.handle(lambda _: self._desk.session.cancel(_identity(goal)))
        return CancelResponse.ACCEPT if _identity(goal) in self._running else CancelResponse.REJECT  # it has its result

    async def _finish(self, goal: ServerGoalHandle) -> Ground.Result:
        _, end = self._running[_identity(goal)]
        event: Finished = await end
        del self._running[_identity(goal)]
        if event.outcome is Outcome.GROUNDED:
            goal.succeed()
        elif event.outcome is Outcome.CANCELLED:
            goal.canceled()
        else:
            goal.abort()
        return Ground.Result(grounding=grounded_message(event))


def _identity(goal: ServerGoalHandle) -> str:
    return bytes(goal.goal_id.uuid).hex()
