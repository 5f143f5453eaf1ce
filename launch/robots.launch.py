"""A clue_node for each robot, in the robot's namespace.

    ros2 launch clue_ros robots.launch.py robots:=robot1,robot2
    ros2 launch clue_ros robots.launch.py robots:=robot1,robot2 image:=camera/color/image_raw model:=/models/mine

Every other argument is one of clue.launch.py and holds for all of them; relative topics are the robot's own.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def nodes(context):
    """clue.launch.py, once for each robot."""
    path = PathJoinSubstitution([FindPackageShare("clue_ros"), "launch", "clue.launch.py"])
    return [IncludeLaunchDescription(path, launch_arguments={"namespace": robot.strip()}.items())
            for robot in LaunchConfiguration("robots").perform(context).split(",")]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return LaunchDescription([DeclareLaunchArgument("robots", description="the robots' namespaces, with commas between them"),
                              OpaqueFunction(function=nodes)])
