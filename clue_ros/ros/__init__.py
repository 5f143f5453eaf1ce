"""The ROS 2 side: the node, its messages and parameters, the demo. The only place that imports rclpy."""
