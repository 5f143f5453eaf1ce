"""The node on a simulated camera: the demo's tables, each for 20 s. Talk to it with `ros2 run clue_ros clue_dialog`.

    ros2 launch clue_ros demo.launch.py rviz:=true
    ros2 launch clue_ros demo.launch.py camera:=live
"""

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from clue_ros.ros.process import PROFILES


def generate_launch_description():
    """What `ros2 launch` asks for."""
    profiles = PathJoinSubstitution([FindPackageShare("clue_ros"), "config", "fastdds.xml"])  # room for images between processes
    node = PathJoinSubstitution([FindPackageShare("clue_ros"), "launch", "clue.launch.py"])
    return LaunchDescription([
        DeclareLaunchArgument("camera", default_value="", description="live, a folder or a file; empty: the demo's"),
        DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"], description="show image and heatmap in RViz"),
        *([] if PROFILES in os.environ else [SetEnvironmentVariable(PROFILES, profiles)]),  # the user's own, where there is one
        IncludeLaunchDescription(node, launch_arguments={"rviz": LaunchConfiguration("rviz")}.items()),
        Node(package="clue_ros", executable="clue_camera", name="clue_camera", output="screen",
             parameters=[{"source": ParameterValue(LaunchConfiguration("camera"), value_type=str)}]),
    ])
