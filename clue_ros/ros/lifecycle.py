"""A managed node whose transitions may take long, on a single-threaded executor."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future


class ManagedNode(LifecycleNodeMixin, Node):
    """Runs each transition on a thread of its own, so that one executor thread goes on answering meanwhile.

    rclpy's LifecycleNode would run it on the executor's thread: while a model loads, no parameter could be read and no
    state asked for. A transition that is asked for during another one is refused.
    """

    def __init__(self, name: str, **options):
        Node.__init__(self, name, **options)
        # Reentrant: the service that waits for a transition must not keep the state from being asked for.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._callbacks = {state: self._telling(callback) for state, callback in self._callbacks.items()}
        self._transitions: list[threading.Thread] = []
        self._in_transition = threading.Lock()  # held from the asking on; another thread may let go of it
        service = self._service_change_state
        self._change_state, service.callback = service.callback, self._change_state_apart

    @property
    def state(self) -> str:
        """"unconfigured", "configuring", "inactive", "active" ..., as `ros2 lifecycle get` prints it."""
        return self._state_machine.current_state[1]

    def bring_up(self) -> None:
        """Configure and activate; returns at once. RuntimeError during a transition."""
        def both() -> None:
            if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        if not self._in_transition.acquire(blocking=False):
            raise RuntimeError("a transition is under way")
        self._apart(both)

    def join_transitions(self, timeout: float) -> bool:
        """Whether every transition ended within `timeout` seconds."""
        end = time.monotonic() + timeout
        for thread in list(self._transitions):
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._transitions)

    def _telling(self, callback: Callable) -> Callable[[LifecycleState], TransitionCallbackReturn]:
        """The callback of a transition, whose exceptions are told: rclpy makes ERROR of them without a word."""
        def tell(state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return callback(state)
            except Exception as error:
                self.get_logger().error(f"{callback.__name__} failed: {type(error).__name__}: {error}")
                self.get_logger().debug(traceback.format_exc())
                raise
        return tell

    async def _change_state_apart(self, request: ChangeState.Request,
                                  response: ChangeState.Response) -> ChangeState.Response:
        if not self._in_transition.acquire(blocking=False):  # rcl would take "transition_success" now, and end the one under way by it
            self.get_logger().warning("a transition was refused, since another one is under way")
            response.success = False
            return response
        done: Future = Future()
        self._apart(lambda: self._change_state(request, response), lambda: done.set_result(response))
        return await done

    def _apart(self, transition: Callable[[], None], after: Callable[[], object] = lambda: None) -> None:
        """Run it on a thread of its own, then let the next one in and call `after`. `_in_transition` is held."""
        def run() -> None:
            try:
                transition()
            except Exception as error:  # rclpy before Kilted raises where the state does not allow it
                self.get_logger().error(f"a transition was refused: {type(error).__name__}: {error}")
            finally:
                self._in_transition.release()
                after()
                if self.executor is not None:
                    self.executor.wake()  # it looks at a waiting service only when something else happens
        self._transitions = [thread for thread in self._transitions if thread.is_alive()]
        self._transitions.append(threading.Thread(target=run, name="transition", daemon=True))
        self._transitions[-1].start()
