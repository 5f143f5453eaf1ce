"""Starts clue_node, and RViz on request.

    ros2 launch clue_ros clue.launch.py image:=/camera/color/image_raw
    ros2 launch clue_ros clue.launch.py image:=/camera/color/image_raw model:=/models/mine device:=cuda rviz:=true
    ros2 launch clue_ros clue.launch.py namespace:=robot1 params_file:=my.yaml log_level:=debug
    ros2 launch clue_ros clue.launch.py autostart:=false     then: ros2 lifecycle set /clue_node configure, activate

model, device and autostart, when they are given, win over the parameters file. Topics: `ros2 node info /clue_node`.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def share(*parts):
    """A file of the installed package."""
    return PathJoinSubstitution([FindPackageShare("clue_ros"), *parts])


ARGUMENTS = [
    DeclareLaunchArgument("image", default_value="image", description="the camera's image topic"),
    DeclareLaunchArgument("namespace", default_value="", description="of the node and its topics"),
    DeclareLaunchArgument("params_file", default_value=share("config", "clue.yaml"), description="parameters file"),
    DeclareLaunchArgument("model", default_value="", description="model folder; empty: what the parameters file says"),
    DeclareLaunchArgument("device", default_value="", description="auto, cpu, cuda ...; empty: what the file says"),
    DeclareLaunchArgument("autostart", default_value="", choices=["", "true", "false"],
                          description="whether the node brings itself up; empty: what the file says"),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"],
                          description="also show the camera and the heatmap in RViz"),
    DeclareLaunchArgument("log_level", default_value="info", choices=["debug", "info", "warn", "error", "fatal"]),
]


def nodes(context):
    """The node, and RViz for `rviz:=true`."""
    given = {name: value for name in ("model", "device") if (value := LaunchConfiguration(name).perform(context))}
    if autostart := LaunchConfiguration("autostart").perform(context):
        given["autostart"] = autostart == "true"
    remapped = [("image", LaunchConfiguration("image"))]
    namespace = LaunchConfiguration("namespace")
    return [
        Node(package="clue_ros", executable="clue_node", name="clue_node", namespace=namespace, output="screen",
             parameters=[LaunchConfiguration("params_file"), given],
             remappings=remapped,
             arguments=["--ros-args", "--log-level", ["clue_node:=", LaunchConfiguration("log_level")]]),
        Node(package="rviz2", executable="rviz2", name="clue_rviz", namespace=namespace, output="log",
             remappings=remapped, arguments=["-d", share("config", "clue.rviz")],
             condition=IfCondition(LaunchConfiguration("rviz"))),
    ]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
