"""Grounds an instruction in a camera image, and asks when it cannot tell which object is meant.

Importing this package imports nothing else: no torch, no ROS.
"""

# In the source folder this package would hide the generated clue_ros.msg; let it be found on the rest of the path.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
