"""Starts clue_node, and RViz on request.

    ros2 launch clue_ros clue.launch.py image:=/camera/color/image_raw
    ros2 launch clue_ros clue.launch.py image:=/camera/color/image_raw model:=/models/mine device:=cuda rviz:=true
    ros2 launch clue_ros clue.launch.py image:=/camera/color/image_raw camera_info:=/camera/color/camera_info \\
        depth:=/camera/aligned_depth_to_color/image_raw
    ros2 launch clue_ros clue.launch.py image:=/camera/image_raw instruction:=/asr/text answer:=/asr/text speech:=/tts/say
    ros2 launch clue_ros clue.launch.py cameras:=front=/front_camera/image_raw,wrist=/wrist_camera/image_raw
    ros2 launch clue_ros clue.launch.py namespace:=robot1 params_file:=my.yaml log_level:=debug
    ros2 launch clue_ros clue.launch.py autostart:=false     then: ros2 lifecycle set /clue_node configure, activate

What is given here wins over the parameters file; every parameter that is no argument here is set there (params_file:=). Topics:
`ros2 node info /clue_node`.
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
    DeclareLaunchArgument("image_transport", default_value="", choices=["", "raw", "compressed"],
                          description="compressed: listen to <image>/compressed; empty: what the parameters file says"),
    DeclareLaunchArgument("depth", default_value="", description="the topic of depth registered to the image, for `target`, or "
                          "true for `depth`, false for none; empty: what the parameters file says"),
    DeclareLaunchArgument("camera_info", default_value="camera_info", description="the image's calibration, for `target`"),
    DeclareLaunchArgument("rectified", default_value="", choices=["", "true", "false"],
                          description="whether the image is, for `target`; empty: what the file says"),
    DeclareLaunchArgument("cameras", default_value="", description="several cameras by name, with their image topics: "
                          "front=/front/image_raw,wrist=...; a name alone: its topic is <name>/image"),
    DeclareLaunchArgument("instruction", default_value="instruction", description="where a person's words come from, such as a speech "
                          "recogniser"),
    DeclareLaunchArgument("answer", default_value="answer", description="where a person's answers come from"),
    DeclareLaunchArgument("speech", default_value="speech", description="where questions go, such as to a text-to-speech node"),
    DeclareLaunchArgument("namespace", default_value="", description="of the node and its topics"),
    DeclareLaunchArgument("params_file", default_value=share("config", "clue.yaml"), description="parameters file"),
    DeclareLaunchArgument("model", default_value="", description="model folder; empty: what the parameters file says"),
    DeclareLaunchArgument("device", default_value="", description="auto, cpu, cuda ...; empty: what the file says"),
    DeclareLaunchArgument("dtype", default_value="", choices=["", "auto", "float32", "bfloat16", "float16"],
                          description="numbers it computes with; empty: what the file says"),
    DeclareLaunchArgument("threads", default_value="", description="CPU threads of the node; empty: what the file says"),
    DeclareLaunchArgument("autostart", default_value="", choices=["", "true", "false"],
                          description="whether the node brings itself up; empty: what the file says"),
    DeclareLaunchArgument("use_sim_time", default_value="", choices=["", "true", "false"],
                          description="time comes from /clock; empty: what the file says"),
    DeclareLaunchArgument("enclave", default_value="", description="of SROS2, such as /clue_ros/clue_node; empty: none"),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"],
                          description="also show the camera and the heatmap in RViz"),
    DeclareLaunchArgument("log_level", default_value="info", choices=["debug", "info", "warn", "error", "fatal"],
                          description="how much clue_node logs"),
]


def nodes(context):
    """The node, and RViz for `rviz:=true`."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    given = {name: value[name] for name in ("model", "device", "dtype", "image_transport") if value[name]}
    given |= {name: value[name] == "true" for name in ("autostart", "rectified", "use_sim_time") if value[name]}
    given |= {"depth": value["depth"].lower() != "false"} if value["depth"] else {}
    depth = {} if value["depth"].lower() in ("", "true", "false") else {"depth": value["depth"]}
    topics = {name: value[name] for name in ("image", "camera_info", "instruction", "answer", "speech") if value[name] != name} | depth
    if value["threads"] and not value["threads"].isdecimal():
        raise RuntimeError(f"threads:={value['threads']} is no number: give one such as 2, or 0 for what the node takes by itself")
    given |= {"threads": int(value["threads"])} if value["threads"] else {}
    named = [camera.strip().partition("=") for camera in value["cameras"].strip("[]").split(",") if camera.strip()]
    if named:
        if topics:
            one = ", ".join(f"{name}:=" for name in topics)
            raise RuntimeError(f"cameras:= names several cameras, and {one} a topic of one: "
                               "remap <camera>/<topic> with `ros2 run clue_ros clue_node --ros-args -r front/depth:=...`")
        given["cameras"] = [name for name, _, _ in named]
        topics = {f"{name}/image": topic for name, _, topic in named if topic}
    shown = named[0][0] if named else ""  # RViz shows one camera: the first
    in_rviz = {"image": topics.get(f"{shown}/image", f"{shown}/image"),
               **{name: f"{shown}/{name}" for name in ("heatmap", "heatmap/image")}} if shown else dict(topics)
    if value["image_transport"] == "compressed":  # the raw image would cross the network for RViz alone
        in_rviz["image"] = in_rviz.get("heatmap/image", "heatmap/image")
    logger = ".".join([*filter(None, value["namespace"].split("/")), "clue_node"])
    enclave = ["--enclave", value["enclave"]] if value["enclave"] else []
    namespace = LaunchConfiguration("namespace")
    return [
        Node(package="clue_ros", executable="clue_node", name="clue_node", namespace=namespace, output="screen",
             parameters=[LaunchConfiguration("params_file"), given],
             remappings=list(topics.items()),
             arguments=["--ros-args", "--log-level", f"{logger}:={value['log_level']}", *enclave]),
        Node(package="rviz2", executable="rviz2", name="clue_rviz", namespace=namespace, output="log",
             remappings=list(in_rviz.items()), arguments=["-d", share("config", "clue.rviz")],
             condition=IfCondition(LaunchConfiguration("rviz"))),
    ]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
