"""Logs of any system are scored without a model; what is wrong with a log is said, what is wrong with an output counts."""

import json
import subprocess
import sys

import pytest
from damage import anything, damaged
from hypothesis import HealthCheck, given, settings

from clue_ros.cli.evaluate import main
from clue_ros.evaluation.predictions import read_predictions, score, summary
from clue_ros.types import InputError

RIGHT = [10, 10, 30, 20]
LINE = {"bbox": [10, 10, 30, 20.5], "gt_bbox": RIGHT, "ambiguous": True, "probability": 0.75}


def log(folder, *lines):
    (folder / "log.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return folder / "log.jsonl"


def boxes(*given):
    return [{"bbox": box, "gt_bbox": RIGHT} for box in given]


def test_an_iou_of_exactly_one_half_counts_in_one_accuracy_and_not_in_the_other(tmp_path):
    table = score(read_predictions(log(tmp_path, *boxes(RIGHT, [10, 10, 30, 30], [10, 10, 30, 31], None))))
    assert table["Acc@0.5 (IoU >= 0.5)"].value == 0.5 and table["Acc@0.5 (IoU > 0.5)"].value == 0.25
    assert table["mean IoU"].value == pytest.approx((1 + 1 / 2 + 10 / 21) / 4)
    assert all(s.low <= s.value <= s.high and s.count == 4 for s in table.values())
    assert not any("ambiguity" in name for name in table)


@pytest.mark.parametrize("output", [None, [], [1, 2, 3], [1, 2, 3, "4"], "10 10 30 20", [30, 10, 10, 20], [10, 10, 10, 20],
                                    [float("nan"), 10, 30, 20], [10, 10, 1e999, 20], [0, 0, 1e200, 1e200], [True, 1, 2, 3], {"x1": 1}])
def test_an_invalid_output_counts_as_wrong_and_is_reported(tmp_path, output):
    read = read_predictions(log(tmp_path, *boxes(RIGHT, output)))
    table = score(read)
    assert table["Acc@0.5 (IoU > 0.5)"].value == table["invalid outputs, counted as wrong"].value == 0.5
    assert summary(read).startswith("1 of 2 outputs are invalid")


def test_lines_about_one_picture_count_as_one(tmp_path):
    told = [{"bbox": box, "gt_bbox": RIGHT, "image": k, "ambiguous": k % 3 == 0, "probability": 0.3 + 0.05 * (k % 7)}
            for k, box in enumerate((RIGHT, None) * 6)]
    once, often = (score(read_predictions(log(tmp_path, *(told * copies)))) for copies in (1, 10))
    unnamed = score(read_predictions(log(tmp_path, *({k: v for k, v in line.items() if k != "image"} for line in told * 10))))
    width = lambda s: s.high - s.low  # noqa: E731
    for name in ("mean IoU", "ambiguity AUROC", "ambiguity ECE"):
        assert once[name].value == pytest.approx(often[name].value)
        assert width(often[name]) > 0.8 * width(once[name]) > 1.6 * width(unnamed[name]), name
    clear, clear_often = (score(read_predictions(log(tmp_path, *([line | {"ambiguous": False} for line in told] * copies))))["ambiguity ECE"]
                          for copies in (1, 10))
    assert width(clear_often) > 0.8 * width(clear) > 0


def test_one_kind_of_prompt_alone_tells_nothing_about_telling_apart(tmp_path):
    read = read_predictions(log(tmp_path, LINE, LINE))
    assert [n for n in score(read) if "ambiguity" in n] == ["ambiguity ECE"]
    assert "all 2 prompts labelled are ambiguous" in summary(read)


@pytest.mark.parametrize("line, sentence", [
    ('{"bbox": null', "line 2: no valid JSON"), ("[1]", "line 2 must be an object"), ("{}", "line 2: nothing to score"),
    ('{"ambiguous": true}', "line 2: nothing to score"), ('{"gt_bbox": [1, 2, 3, 4]}', 'line 2: field "bbox" is missing'),
    ('{"bbox": null, "gt_bbox": [1, 2, 3]}', 'line 2: field "gt_bbox" must be four finite numbers'),
    ('{"bbox": null, "gt_bbox": [3, 2, 1, 4]}', 'line 2: field "gt_bbox" must be x1, y1, x2, y2'),
    ('{"ambiguous": 1, "probability": 0.5}', 'line 2: field "ambiguous" must be true or false, is 1'),
    ('{"ambiguous": true, "probability": 1.5}', 'line 2: field "probability" must be between 0 and 1'),
    ('{"ambiguous": true, "probability": NaN}', 'line 2: field "probability" must be between 0 and 1'),
    ("\xff\xfe", "line 2: no valid JSON")])
def test_a_malformed_line_is_named(tmp_path, line, sentence):
    (tmp_path / "log.jsonl").write_bytes(f"{json.dumps(LINE)}\n{line}\n".encode("latin-1"))
    with pytest.raises(InputError, match=f"log.jsonl, {sentence}"):
        read_predictions(tmp_path / "log.jsonl")


def test_lines_of_which_nothing_is_known_are_left_out_and_told(tmp_path):
    bare = {"bbox": [1, 2, 3, 4], "probability": 0.2, "question": None}
    read = read_predictions(log(tmp_path, LINE, bare, bare))
    assert len(read.iou) == len(read.truth) == 1 and "2 lines are of prompts of which nothing is known" in summary(read)
    with pytest.raises(InputError, match="holds no predictions that are labelled"):
        read_predictions(log(tmp_path, bare))


def test_nothing_to_score_is_an_error_not_a_zero(tmp_path):
    with pytest.raises(InputError, match="holds no predictions"):
        read_predictions(log(tmp_path))
    with pytest.raises(InputError, match="gone.jsonl cannot be read"):
        read_predictions(tmp_path / "gone.jsonl")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(LINE))
def test_a_damaged_line_is_read_or_refused_in_a_sentence(tmp_path, line):
    try:
        read = read_predictions(log(tmp_path, line))
        assert ((0 <= read.iou) & (read.iou <= 1)).all() and len(read.iou) == len(read.invalid)
    except InputError as error:
        assert "log.jsonl, line 1" in str(error)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything)
def test_no_output_of_a_system_stops_the_scoring(tmp_path, output):
    read = read_predictions(log(tmp_path, *boxes(output)))
    assert 0 <= read.iou[0] <= 1 and not (read.invalid[0] and read.iou[0])


def test_the_command_scores_boxes_and_ambiguity_where_their_fields_are(tmp_path, monkeypatch, capsys):
    labelled = [{"ambiguous": a, "probability": p} for a, p in ((True, 0.9), (True, 0.4), (False, 0.6), (False, 0.1))]
    file = log(tmp_path, *labelled, *boxes(RIGHT, None), LINE | {"ambiguous": None}, labelled[0] | {"gt_bbox": None})
    monkeypatch.setattr(sys, "argv", ["clue-evaluate", "predictions", str(file), "--threshold", "0.4", "--json",
                                      str(tmp_path / "scores.json")])
    main()
    printed = capsys.readouterr().out
    assert "| Acc@0.5 (IoU >= 0.5) | 0.667 |" in printed and "1 of 3 outputs are invalid" in printed
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    known = {"precision": 3 / 4, "recall": 1, "F1": 6 / 7, "AUROC": 5 / 6, "AUPRC": 2 / 3 + 1 / 4, "ECE": 1.5 / 5}
    assert {name: scores[f"ambiguity {name}"]["value"] for name in known} == pytest.approx(known)
    assert scores["ambiguity F1"]["count"] == 5 and scores["mean IoU"]["count"] == 3
    monkeypatch.setattr(sys, "argv", ["clue-evaluate", "predictions", str(tmp_path / "gone.jsonl")])
    with pytest.raises(SystemExit, match="error: .*gone.jsonl cannot be read"):
        main()


def test_scoring_a_log_loads_no_model():
    code = ("import sys, clue_ros.evaluation.predictions, clue_ros.evaluation.report\n"
            "assert not {'torch', 'transformers', 'cv2'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("place, why", [("", "is a folder: give the name of a file"), ("log.jsonl/scores.json", "is no folder"),
                                        ("x" * 300 + ".json", "File name too long")])
def test_scores_that_could_not_be_written_are_not_computed(tmp_path, monkeypatch, capsys, place, why):
    log = tmp_path / "log.jsonl"
    log.write_text("not looked at")
    monkeypatch.setattr(sys, "argv", ["clue-evaluate", "predictions", str(log), "--json", str(tmp_path / place)])
    with pytest.raises(SystemExit):
        main()
    assert why in capsys.readouterr().err
