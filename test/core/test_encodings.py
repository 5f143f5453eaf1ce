"""Every encoding against pixel values known beforehand: a red, a green and a blue field, written down by hand."""

import struct
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_ros.encodings import ENCODINGS, check, from_compressed, promised_size, to_rgb
from clue_ros.types import InputError

# A block of 2 x 2 pixels of pure red, of pure green and of pure blue, as each encoding writes it, row by row. Y, U, V
# are those of ITU-R BT.601 in limited range: red 82, 90, 240; green 145, 54, 34; blue 41, 240, 110.
BLOCKS = {
    "rgb8": ([[255, 0, 0] * 2] * 2, [[0, 255, 0] * 2] * 2, [[0, 0, 255] * 2] * 2),
    "bgr8": ([[0, 0, 255] * 2] * 2, [[0, 255, 0] * 2] * 2, [[255, 0, 0] * 2] * 2),
    "rgba8": ([[255, 0, 0, 7] * 2] * 2, [[0, 255, 0, 7] * 2] * 2, [[0, 0, 255, 7] * 2] * 2),
    "bgra8": ([[0, 0, 255, 7] * 2] * 2, [[0, 255, 0, 7] * 2] * 2, [[255, 0, 0, 7] * 2] * 2),
    "mono8": ([[76, 76]] * 2, [[150, 150]] * 2, [[29, 29]] * 2),
    "uyvy": ([[90, 82, 240, 82]] * 2, [[54, 145, 34, 145]] * 2, [[240, 41, 110, 41]] * 2),
    "yuyv": ([[82, 90, 82, 240]] * 2, [[145, 54, 145, 34]] * 2, [[41, 240, 41, 110]] * 2),
    "nv12": ([[82, 82], [82, 82], [90, 240]], [[145, 145], [145, 145], [54, 34]], [[41, 41], [41, 41], [240, 110]]),
    "nv21": ([[82, 82], [82, 82], [240, 90]], [[145, 145], [145, 145], [34, 54]], [[41, 41], [41, 41], [110, 240]]),
    "nv24": ([[82, 82], [82, 82]] + [[90, 240], [90, 240]] * 2, [[145, 145], [145, 145]] + [[54, 34], [54, 34]] * 2,
             [[41, 41], [41, 41]] + [[240, 110], [240, 110]] * 2),
    "bayer_rggb8": ([[255, 0], [0, 0]], [[0, 255], [255, 0]], [[0, 0], [0, 255]]),
    "bayer_bggr8": ([[0, 0], [0, 255]], [[0, 255], [255, 0]], [[255, 0], [0, 0]]),
    "bayer_gbrg8": ([[0, 0], [255, 0]], [[255, 0], [0, 255]], [[0, 255], [0, 0]]),
    "bayer_grbg8": ([[0, 255], [0, 0]], [[255, 0], [0, 255]], [[0, 0], [255, 0]]),
}
SAME = {"yuv422": "uyvy", "yuv422_yuy2": "yuyv", "8UC1": "mono8", "16UC1": "mono8"}
H, W = 4, 18  # three fields, each 6 pixels wide
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def data_rows(encoding):
    """uint8 or uint16 [rows, numbers]: the picture's data in that encoding, without padding."""
    name = SAME.get(encoding, encoding)
    blocks = [np.array(block) for block in BLOCKS[name if name in BLOCKS else name[:-2] + "8"]]
    luma = np.concatenate([np.tile(block[:2], (H // 2, 3)) for block in blocks], 1)
    planes = [luma]
    if encoding == "nv24":  # 2 numbers a pixel, so that a row of the second plane fills two of the first
        chroma = np.concatenate([np.tile([*block[2], *block[2]], (H, 3)) for block in blocks], 1)
        planes.append(chroma.reshape(2 * H, W))
    elif len(blocks[0]) == 3:
        planes.append(np.concatenate([np.tile(block[2:], (H // 2, 3)) for block in blocks], 1))
    rows = np.concatenate(planes)
    return rows.astype(np.uint16) * 257 if ENCODINGS[encoding].wide else rows.astype(np.uint8)


def message(encoding, *, padding=0, big=False):
    """The picture as an image message, with `padding` bytes after each row."""
    rows = data_rows(encoding)
    if rows.dtype == np.uint16:
        rows = rows.astype(">u2" if big else "<u2")
    rows = np.pad(np.ascontiguousarray(rows).view(np.uint8), ((0, 0), (0, padding)), constant_values=77)
    if encoding == "nv24" and padding:  # its second plane pads the longer rows, twice as much
        chroma = np.pad(data_rows(encoding)[H:].reshape(H, -1), ((0, 0), (0, 2 * padding)), constant_values=77)
        rows = np.concatenate([rows[:H], chroma.reshape(2 * H, -1)])
    return SimpleNamespace(height=H, width=W, encoding=encoding, step=rows.shape[1], is_bigendian=int(big),
                           data=rows.tobytes())


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_red_green_and_blue(encoding, padding):
    rgb = to_rgb(message(encoding, padding=padding))
    assert rgb.shape == (H, W, 3) and rgb.dtype == np.uint8
    grey = encoding.startswith(("mono", "8UC1", "16UC1"))
    tolerance = 0 if encoding.startswith(("rgb", "bgr", "mono", "bayer")) or grey else 3
    for k, (name, colour) in enumerate(COLOURS.items()):
        field = rgb[1:-1, 6 * k + 1:6 * k + 5].astype(int)  # a Bayer border is guessed
        want = BLOCKS["mono8"][k][0][0] if grey else colour
        assert np.abs(field - want).max() <= tolerance, name


@pytest.mark.parametrize("encoding", [name for name, encoding in ENCODINGS.items() if encoding.wide])
def test_big_endian(encoding):
    np.testing.assert_array_equal(to_rgb(message(encoding)), to_rgb(message(encoding, big=True)))


def test_sixteen_bits_are_scaled_and_rounded():
    values = np.array([[0, 128, 129, 257, 32767, 65535]], "<u2")
    msg = SimpleNamespace(height=1, width=6, encoding="mono16", step=12, is_bigendian=0, data=values.tobytes())
    assert to_rgb(msg)[0, :, 0].tolist() == [0, 0, 1, 1, 127, 255]


@pytest.mark.parametrize("encoding, changes, words", [
    ("rgb8", {"encoding": "32FC1"}, "'32FC1' is not supported: publish one of rgb8, bgr8"),
    ("rgb8", {"encoding": "8UC3"}, "'8UC3' is not supported"),
    ("rgb8", {"encoding": ""}, "'' is not supported"),
    ("rgb8", {"width": 0}, "0 x 4 pixels"), ("rgb8", {"height": 0}, "18 x 0 pixels"),
    ("rgb8", {"step": 53}, "size and step disagree: 18 pixels of rgb8 are 54 bytes a row, its step is 53"),
    ("rgb8", {"height": 5}, "5 rows of step 54 are 270 bytes, it carries 216"),
    ("rgb8", {"data": b""}, "it carries 0"),
    ("nv12", {"data": bytes(H * W)}, "6 rows of step 18 are 108 bytes, it carries 72"),
    ("yuyv", {"width": 17}, "17 x 4 pixels, but in yuyv 2 x 1 pixels share their colour"),
    ("nv21", {"height": 3}, "18 x 3 pixels, but in nv21 2 x 2 pixels share their colour"),
    ("bayer_rggb8", {"height": 2}, "18 x 2 pixels, too few to tell the colours"),
])
def test_unusable_images_say_why(encoding, changes, words):
    msg = message(encoding)
    vars(msg).update(changes)
    with pytest.raises(InputError) as error:
        check(msg)
    assert words in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError):
        to_rgb(msg)


@given(encoding=st.sampled_from([*ENCODINGS, "", "32FC1", "rgb8; jpeg"]), width=st.integers(0, 9), height=st.integers(0, 9),
       step=st.integers(0, 80), big=st.integers(0, 255), extra=st.integers(-5, 5), fitting=st.booleans())
def test_any_message_gives_a_picture_or_a_sentence(encoding, width, height, step, big, extra, fitting):
    rows = int(height * ENCODINGS[encoding].rows) if encoding in ENCODINGS else height
    length = step * rows + (0 if fitting else extra)
    msg = SimpleNamespace(height=height, width=width, encoding=encoding, step=step, is_bigendian=big,
                          data=bytes(range(256)) * (max(0, length) // 256) + bytes(max(0, length) % 256))
    try:
        assert to_rgb(msg).shape == (height, width, 3)
    except InputError as error:
        assert str(error) and "\n" not in str(error)


def test_compressed():
    rgb = to_rgb(message("rgb8"))
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(from_compressed(SimpleNamespace(format="png", data=png)), rgb)
    web = cv2.imencode(".webp", rgb)[1].tobytes()  # OpenCV would read it, whatever size it promises
    vast = png[:16] + (2 ** 30).to_bytes(4, "big") * 2 + png[24:]
    for data, trouble in ((b"", "cannot be decoded"), (b"not a picture", "cannot be decoded"), (png[:40], "cannot be decoded"),
                          (web, "publish JPEG or PNG"),
                          (vast, "more than 100 million")):
        with pytest.raises(InputError, match=trouble):
            from_compressed(SimpleNamespace(format="jpeg", data=data))


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_small_file_that_promises_a_huge_picture_is_refused_unopened(ending):
    data = cv2.imencode(ending, np.zeros((30, 40, 3), np.uint8))[1].tobytes()
    assert promised_size(data) == (40, 30)
    at = 16 if ending == ".png" else data.index(b"\xff\xc0") + 5
    size = struct.pack(">II", 30000, 30000) if ending == ".png" else struct.pack(">HH", 30000, 30000)
    bomb = data[:at] + size + data[at + len(size):]
    with pytest.raises(InputError, match="30000 x 30000 pixels, more than 100 million: publish a smaller one"):
        from_compressed(SimpleNamespace(format=ending[1:], data=array("B", bomb)))


def test_a_size_stands_behind_long_segments_fill_bytes_and_tables():
    data = cv2.imencode(".jpg", np.zeros((30, 40, 3), np.uint8))[1].tobytes()
    at = data.index(b"\xff\xc0")
    table = b"\xff\xc4" + struct.pack(">H", 12) + b"\x08" + struct.pack(">HH", 999, 888) + bytes(5)
    for before in (b"\xff\xe1" + struct.pack(">H", 2 + 1000) + bytes(1000), b"\xff\xff\xff", table, b"\xff\x01"):
        assert promised_size(data[:at] + before + data[at:]) == (40, 30)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_any_header_promises_something(data, start):
    assert min(promised_size(start + data)) >= 0
