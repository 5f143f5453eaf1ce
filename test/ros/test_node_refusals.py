"""What the node is given and cannot use: each ends in a sentence, and the node goes on. Real DDS, the real embedded model."""

import pickle
import re
import shutil

import pytest
from std_msgs.msg import Header, String

from clue_ros.model_folder import embedded
from clue_ros.msg import GroundedObject
from clue_ros.ros.conversions import image_from_rgb
from clue_ros.ros.node import load_engine
from company import error_of


def test_unusable_images_then_a_good_one(stage, embedded_engine, clear):
    play = stage(embedded_engine)
    good = image_from_rgb(clear.picture.rgb, Header(frame_id="c"))
    play.until(play.camera._publisher.get_subscription_count)
    for change, words in (({"encoding": "32FC1"}, "encoding '32FC1' is not supported: publish one of rgb8"),
                          ({"step": 7}, "size and step disagree"),
                          ({"data": good.data[:100]}, "size and data disagree"),
                          ({"width": 0}, "0 x 480 pixels")):
        bad = image_from_rgb(clear.picture.rgb, Header(frame_id="c"))
        for name, value in change.items():
            setattr(bad, name, value)
        play.camera._publisher.publish(bad)
        play.logged(words)
        play.until(lambda: words in play.view.inputs.unusable)
        assert words in error_of(play)
    play.show(clear.picture)
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED


def test_unusable_words(stage, embedded_engine):
    play = stage(embedded_engine)
    assert "the instruction is empty" in error_of(play, "")
    assert "the instruction is empty" in error_of(play, " \n ")
    assert "10000 characters" in error_of(play, "x" * 10_000)
    play.person.reply("the left one")
    play.logged("the answer 'the left one' is ignored: no question is open")
    assert not play.rest(0.3)


def test_unusable_answer_leaves_the_question_open(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    play.hear(String)
    play.person.reply("")
    play.logged("the question stays open: the answer is empty")
    play.person.reply("the left one")
    end = play.hear((GroundedObject, String))
    assert isinstance(end, String) or list(end.dialog)[-1] == "the left one"


def test_unreadable_model_folder(stage, tmp_path):
    play = stage(load_engine, model=str(tmp_path / "nowhere"))
    sentence = error_of(play)
    assert "nowhere" in sentence and "\n" not in sentence
    assert error_of(play) == sentence  # and again: the node goes on
    play.logged(sentence)


def test_missing_file_of_a_model(stage, tmp_path):
    folder = shutil.copytree(embedded(), tmp_path / "model")
    (folder / "detector" / "config.json").unlink()
    play = stage(load_engine, model=str(folder))
    assert str(folder / "detector" / "config.json") in error_of(play)


DAMAGES = {
    "detector/model.safetensors": lambda file: file.write_bytes(file.read_bytes()[:-100]),  # cut short
    "adapter/adapter_model.safetensors": lambda file: shutil.copy(file.parents[1] / "detector/model.safetensors", file),
    "base/model.safetensors": lambda file: file.write_bytes(pickle.dumps({"weights": [1.0]})),
    "detector/config.json": lambda file: file.write_text(re.sub(r'"channels": \d+', '"channels": 8', file.read_text()))}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_is_refused_by_the_node_with_the_files_name(stage, tmp_path, name):
    folder = shutil.copytree(embedded(), tmp_path / "model")
    before = (folder / name).read_bytes()
    DAMAGES[name](folder / name)
    assert (folder / name).read_bytes() != before
    sentence = error_of(stage(load_engine, model=str(folder)))
    assert str(folder / name) in sentence and "\n" not in sentence
