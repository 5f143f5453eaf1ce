"""What a running node really has on the network, as the ROS graph tells."""

import time

from rclpy.node import NodeNameNonExistentError

ENDPOINTS = {"publish": "publisher", "subscribe": "subscriber", "reply": "service", "request": "client"}
ACTIONS = {"execute": ("reply", "publish"), "call": ("request", "subscribe")}


def rights_of(observer, name, namespace):
    """{(right, full name): type} of a node. An action counts as one thing, to `execute` or to `call`; KeyError when one is
    not whole."""
    found = {}
    for right, kind in ENDPOINTS.items():
        for topic, types in getattr(observer, f"get_{kind}_names_and_types_by_node")(name, namespace):
            found[right, topic], = types
    for right, (services, topics) in ACTIONS.items():
        for action in [topic.removesuffix("/_action/send_goal") for kind, topic in found
                       if kind == services and topic.endswith("/_action/send_goal")]:
            found[right, action] = found[services, f"{action}/_action/send_goal"].removesuffix("_SendGoal")
            for kind, part in ((services, "send_goal"), (services, "cancel_goal"), (services, "get_result"),
                               (topics, "feedback"), (topics, "status")):
                del found[kind, f"{action}/_action/{part}"]
    return found


def settled_rights(observer, name, namespace, wanted, seconds=10.0):
    """The set of `rights_of` when it is the wanted one, or after so many seconds: a graph needs a while to be known."""
    end = time.monotonic() + seconds
    while True:
        try:
            got = set(rights_of(observer, name, namespace))
        except (KeyError, NodeNameNonExistentError):
            got = set()
        if got == wanted or time.monotonic() > end:
            return got
        time.sleep(0.05)


def qos_of(observer, name, namespace, right, topic):
    """(reliability, durability) of a node's publisher or subscription."""
    infos = {"publish": observer.get_publishers_info_by_topic, "subscribe": observer.get_subscriptions_info_by_topic}
    own, = {(i.qos_profile.reliability.name, i.qos_profile.durability.name) for i in infos[right](topic)
            if (i.node_name, i.node_namespace) == (name, namespace)}
    return own


def full_name(name, node, namespace):
    """A name as it stands in a policy or in the docs, resolved for a node."""
    below = namespace.rstrip("/")
    if name.startswith("~"):
        return f"{below}/{node}{name[1:]}"
    return name if name.startswith("/") else f"{below}/{name}"


def name_at(camera, name):
    """A relative name for a camera by name: all but `model` and the node's own services lie below it."""
    return name if not camera or name[0] in "/~" or name == "model" else f"{camera}/{name}"
