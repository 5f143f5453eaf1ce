"""How the node's topics are sent and received."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

RELIABLE = QoSProfile(depth=10)
EVERY_WORD = QoSProfile(history=HistoryPolicy.KEEP_ALL)  # each one has consequences, however fast they come
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# The node keeps one result for latecomers; a listener keeps some, to miss none when two come at once.
LATCHED_LISTENER = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NEWEST = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
