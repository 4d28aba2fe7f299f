"""Which device is meant, what cameras say of themselves, and what a refusal means."""

from __future__ import annotations

import errno

import pytest

from p2pxfer.errors import DeviceBusy, DeviceForbidden, DeviceMissing, LocalFileError, UsageError
from p2pxfer.media.devices import Device, chosen, parse_modes, refused
from p2pxfer.media.wanted import MOST, Wanted, check, picked, several

FRONT = Device("video", "/dev/video0", "Integrated Camera: Front")
BACK = Device("video", "/dev/video2", "USB Rear Camera")
LISTED = [FRONT, BACK]


@pytest.mark.parametrize(
    ("asked", "facing", "meant"),
    [
        (None, None, FRONT),
        ("2", None, BACK),
        ("/dev/video2", None, BACK),
        ("usb", None, BACK),
        ("3", None, None),
        ("telescope", None, None),
        (None, "environment", BACK),
        (None, "user", FRONT),
    ],
)
def test_a_device_is_meant_by_number_name_or_where_it_looks(asked, facing, meant):
    """The first that fits; none where none does."""
    assert chosen(LISTED, asked, Wanted(facing=facing)) is meant


def test_no_camera_faces_where_none_says_so():
    """A wrong one is worse than none."""
    assert chosen([BACK], None, Wanted(facing="user")) is None


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EBUSY, DeviceBusy),
        (errno.EACCES, DeviceForbidden),
        (errno.EPERM, DeviceForbidden),
        (errno.ENODEV, DeviceMissing),
        (errno.ENOTTY, LocalFileError),
    ],
)
def test_what_the_system_says_becomes_an_error_with_a_hint(number, kind):
    """Busy, forbidden and missing are told apart, and each says what to do."""
    error = refused(OSError(number, "as the system says"), "Front")
    assert type(error) is kind
    assert "Front" in error.message
    assert error.hint


def test_modes_are_read_from_what_ffmpeg_says():
    """As it lists those of a V4L2 camera."""
    said = [
        "Raw       :     yuyv422 :           YUYV 4:2:2 : 640x480 160x120",
        "Compressed:       mjpeg :          Motion-JPEG : 1280x720 640x480",
        "something else: 99999x1",
    ]
    modes = ("yuyv422 640x480", "yuyv422 160x120", "mjpeg 1280x720", "mjpeg 640x480")
    assert parse_modes(said) == modes


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(width=5),
        Wanted(height=50_000),
        Wanted(rate=0),
        Wanted(rate=1000),
        Wanted(clip="test:", device="1"),
        Wanted(clip="a.mp4", facing="user"),
        Wanted(loop=True),
        Wanted(clip="test:", loop=True),
    ],
)
def test_what_makes_no_sense_is_refused(wanted):
    """Before any device is touched."""
    with pytest.raises(UsageError):
        check([wanted])


COMMON = {"audio": False, "width": None, "height": None, "rate": None}


@pytest.mark.parametrize(
    ("devices", "clips", "others", "meant"),
    [
        ([], [], {}, [Wanted()]),
        ([], [], {"facing": "user"}, [Wanted(facing="user")]),
        (["1", "2"], [], {}, [Wanted(device="1"), Wanted(device="2")]),
        (
            ["1"],
            ["test:", "a.mp4"],
            {"loop": True, "microphone": "m"},
            [
                Wanted(device="1", microphone="m"),
                Wanted(clip="test:"),
                Wanted(clip="a.mp4", loop=True),
            ],
        ),
    ],
)
def test_cameras_and_clips_can_be_shown_at_once(devices, clips, others, meant):
    """In that order, and each with what is for its kind."""
    options = {"loop": False, "microphone": None, "facing": None, **COMMON, **others}
    found = several(devices, clips, **options)
    assert list(found) == meant
    check(found)


@pytest.mark.parametrize(
    ("devices", "clips", "others"),
    [
        ([], ["test:", "test:"], {"loop": True}),
        ([], ["a.mp4"], {"microphone": "m"}),
        (["1"], [], {"loop": True}),
        (["1"] * (MOST + 1), [], {}),
    ],
)
def test_what_belongs_to_none_of_them_is_refused(devices, clips, others):
    """As it is where there is one; and so are too many."""
    options = {"loop": False, "microphone": None, "facing": None, **COMMON, **others}
    with pytest.raises(UsageError):
        check(several(devices, clips, **options))


@pytest.mark.parametrize(
    ("asked", "number"), [("2", 1), ("back", 2), ("Front", 0), ("fro", 0), ("4", None), ("x", None)]
)
def test_a_camera_of_the_other_side_is_meant_by_number_or_name(asked, number):
    """A whole name comes before a part of another."""
    assert picked(["Front", "Back of it", "back"], asked) == number
