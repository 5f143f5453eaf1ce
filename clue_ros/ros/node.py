"""`clue_node`: camera image, instruction and answer in; question, box and heatmap out.

    ros2 run clue_ros clue_node --ros-args -r image:=/camera/color/image_raw -p model:=tabletop
    ros2 run clue_ros clue_node --ros-args -p cameras:="[front, wrist]" -r front/image:=/front_camera/color/image_raw

A managed node: by itself it comes up at once; with `-p autostart:=false` it waits for `ros2 lifecycle set /clue_node
configure` (loads the model) and `activate`. `deactivate` ends the running dialog, `cleanup` gives the memory back.

The ROS executor runs on the main thread and only hands over; `worker.Worker` computes on a thread of its own, for all
cameras. What belongs to one camera is a `view.View`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import cv2
import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from clue_ros.ros import conversions, parameters
from clue_ros.ros.begin import begin_until_signal
from clue_ros.ros.diagnostics import SLOW, Diagnostics
from clue_ros.ros.lifecycle import ManagedNode
from clue_ros.ros.model_topic import ModelTopic
from clue_ros.ros.request import Event
from clue_ros.ros.session import HELD, Session
from clue_ros.ros.spinning import made, spin_some
from clue_ros.ros.view import View
from clue_ros.ros.words import shown
from clue_ros.ros.worker import Engine, Worker
from clue_ros.types import InputError

Load = Callable[[parameters.Settings, Callable[[str], None]], Engine]
SHUT_DOWN = "the node was shut down before the instruction was finished"


def load_engine(settings: parameters.Settings, tell: Callable[[str], None] = lambda _: None) -> Engine:
    """The model the parameters name; tell: hears of the progress. Slow. ModelError, InputError."""
    import torch  # takes seconds, too

    from clue_ros.devices import pick_threads
    from clue_ros.model_folder import load

    def use(threads: int) -> None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    use(settings.threads or 1)
    clue = load(settings.model, settings.device, settings.dtype, allow_download=settings.allow_download)
    use(pick_threads(settings.threads, clue.vlm.model.num_parameters(), clue.vlm.device))
    tell("the weights are read; warming up")
    clue.warm_up()
    conversions.cv_bridge()  # tried now, not at the first look
    return clue


class ClueNode(ManagedNode):
    """The node. load: makes the engine, on the inference thread. InputError for a parameter out of range."""

    views: tuple[View, ...] = ()  # of a node whose parameters are refused

    def __init__(self, load: Load = load_engine, **options):
        try:
            super().__init__("clue_node", automatically_declare_parameters_from_overrides=True, enable_logger_service=True, **options)
        except ValueError as error:  # rclpy's, which does not name the parameter
            raise InputError("a parameter was given without a value, or as an empty list: give it one, or leave it out "
                             f"({error})") from error
        self.settings = parameters.declare(self)
        self.add_pre_set_parameters_callback(parameters.converted)
        self.add_post_set_parameters_callback(self._on_change)
        self.add_on_set_parameters_callback(self._may_change)
        self._load_engine = load
        self._loading_since: float | None = None
        self.worker = Worker(to_frame=conversions.frame_from_image, before_look=self._keep_risk, log=self.get_logger())
        self.views = tuple(View(self, name, self.worker, lambda: self.settings) for name in self.settings.cameras)
        self.model = ModelTopic(self)
        Diagnostics(self, self.model, self.worker, [view.health for view in self.views])
        self.create_timer(5.0, self._say_what_takes_long, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self.settings.autostart:
            self._each(Session.hold)
            self.bring_up()
        else:
            self._close_sessions()

    def close(self, timeout: float = 0.3) -> bool:
        """End the running requests with an error; whether all threads ended within about `timeout` seconds."""
        ended = self.worker.stop(SHUT_DOWN, timeout)
        for view in self.views:
            view.outputs.flush(0.3 / len(self.views))
        return self.join_transitions(timeout) and ended

    def destroy_node(self) -> None:
        """Take everything off the network."""
        for view in self.views:
            view.action.destroy()
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()  # rclpy forgets it, which keeps the node in the graph until a collection

    # -- life cycle --------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and warm up. Without one the node stays unconfigured, and every instruction hears why."""
        self._loading_since = time.monotonic()
        if not self._starts_by_itself:
            self._close_sessions("the model is still loading: say it again when the node is active")
        try:
            ready = self._load_model(self._loading_since)
        finally:  # also where an error that nobody foresaw ends the transition
            self._loading_since = None
        return super().on_configure(state) if ready else TransitionCallbackReturn.FAILURE

    def _load_model(self, start: float) -> bool:
        """Whether a model is ready now; what it is, or why there is none, goes to the log and to `model`."""
        settings, log = self.settings, self.get_logger()
        name = shown(settings.model, 200)
        log.info(f"loading the model '{name}' (device {settings.device}, dtype {settings.dtype})")
        sentence = self.worker.load(lambda: self._load_engine(settings, log.info))
        if sentence:
            if not self.worker.stopping:
                log.error(sentence)
                self._close_sessions(sentence)
            self.model.unloaded(sentence)
            return False
        if (made := self.worker.engine.calibration) is None:
            log.warning(f"the detector of '{name}' was never calibrated: it asks from P(ambiguous) "
                        f"{self.worker.engine.threshold:.2f}, whatever `risk` says; `clue-train calibrate` makes up for it")
        elif made.risk != settings.risk:
            log.warning(f"parameter risk is {settings.risk:g}, and '{name}' was calibrated for {made.risk:g}: the parameter holds")
        if not self._starts_by_itself:
            self._close_sessions()
        self.model.loaded(settings.model, self.worker.engine)
        where = f" on {known.device} ({known.dtype})" if (known := self.model.known) is not None else ""
        log.info(f"model '{name}' is ready{where} after {time.monotonic() - start:.1f} s")
        return True

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen and look; not any more where the node is about to end."""
        if self.worker.stopping:
            return TransitionCallbackReturn.FAILURE
        done = super().on_activate(state)
        self._each(Session.open)
        self.get_logger().info(f"say what to look for on {', '.join(v.inputs.instruction_topic for v in self.views)}")
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the running request in words, and be silent from then on."""
        self._close_sessions(running="the node was deactivated before the instruction was finished")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model's memory back; an instruction that waited for it ends."""
        self._close_sessions()
        self._unload()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The end of the managed life, from any state; the process stays until it gets a signal."""
        self._close_sessions("the node was shut down: start it again", SHUT_DOWN)
        self._unload()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition failed in a way that nobody foresaw: back to unconfigured, from where it can start again."""
        self.get_logger().error(f"a transition from {state.label} failed; the node is unconfigured")
        self._close_sessions(running="a life-cycle transition of the node failed before the instruction was finished")
        self._unload()
        return TransitionCallbackReturn.SUCCESS

    def _unload(self) -> None:
        if (sentence := self.worker.unload()) and not self.worker.stopping:
            self.get_logger().error(sentence)
        self.model.unloaded()

    def _close_sessions(self, sentence: str = "", running: str = "") -> None:
        """Every new instruction ends with the sentence, "" for the one that the node is not active; the running ones with
        their own."""
        self._each(lambda session: session.close(sentence or self._not_active(), running))

    def _each(self, event: Callable[[Session], list[Event]]) -> None:
        """The same event for every camera's session."""
        for view in self.views:
            view.desk.handle(lambda _, session=view.session: event(session))

    @property
    def _starts_by_itself(self) -> bool:
        """Whether instructions wait for the model that is being loaded."""
        return self.views[0].session.gate is HELD

    def _not_active(self) -> str:
        name = self.get_fully_qualified_name()
        return (f"the node is not active: bring it up with `ros2 lifecycle set {name} configure` (loads the model) and "
                f"`ros2 lifecycle set {name} activate`")

    def _say_what_takes_long(self) -> None:
        log = self.get_logger()
        if (since := self._loading_since) is not None:
            log.info(f"still loading the model, for {time.monotonic() - since:.0f} s now")
        elif (looking := self.worker.looking_for) > SLOW:
            log.warning(f"still at one look, for {looking:.0f} s now; where each takes so long, the model is too large for the device "
                        "(see parameters device and dtype), and where it never ends, that device hangs: start the node again")

    # -- parameters --------------------------------------------------------------------------------------------------

    def _may_change(self, given: list[Parameter]) -> SetParametersResult:
        engine = self.worker.engine
        if engine is not None and engine.calibration is None and any(p.name == "risk" and p.value != self.settings.risk for p in given):
            name = shown(self.settings.model, 200)
            return SetParametersResult(reason=f"risk: the detector of '{name}' was never calibrated, so that no risk can be kept: `clue-train "
                                              "calibrate` makes up for it")
        return parameters.verdict(given, None if self.state in ("unconfigured", "finalized") else self.settings)

    def _on_change(self, _: list) -> None:
        self.settings = parameters.read(self)

        def apply(session: Session) -> list[Event]:
            session.limits = self.settings.limits()
            return []
        self._each(apply)

    def _keep_risk(self, engine: Engine) -> None:
        if engine.calibration is not None:
            engine.threshold = engine.calibration.threshold(self.settings.risk)


def main(args: list[str] | None = None, load: Load = load_engine) -> None:
    """Run the node until SIGINT or SIGTERM; exit code 1 when a parameter cannot be used."""
    stopping = begin_until_signal(args)  # so that the last outcome can still be published
    sys.setswitchinterval(0.0005)  # seconds; a picture or a word must not wait 5 ms for a thread that computes
    node = made("clue_node", lambda: ClueNode(load))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stopping:
        spin_some(executor, 0.2, node.get_logger())
    node.close()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        spin_some(executor, 0.05, node.get_logger())  # sends the result of a goal that was running
    node.destroy_node()  # so that the other nodes know at once
    rclpy.shutdown()
    sys.stdout.flush()
    os._exit(0)  # tearing down Python takes seconds with torch in it, and could crash under a look or load that goes on


if __name__ == "__main__":
    main()
