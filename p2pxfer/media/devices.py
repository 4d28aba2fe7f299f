"""Cameras and microphones of this machine: which there are, what they can do, how they are opened.

Each system has its own way in FFmpeg: V4L2 and ALSA on Linux, AVFoundation on macOS, DirectShow on
Windows. What the system says when a device can't be had is put into words here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import av
import av.device
import av.logging
from msgspec import Struct

from p2pxfer.errors import DeviceBusy, DeviceForbidden, DeviceMissing, LocalFileError
from p2pxfer.media.wanted import Wanted
from p2pxfer.tracks import Kind

OPEN_LIMIT: Final = 10.0  # seconds that a device may take to open
READ_LIMIT: Final = 5.0  # seconds without a picture after which it is called gone
_FORMATS = {"linux": ("v4l2", "alsa"), "darwin": ("avfoundation",) * 2, "win32": ("dshow",) * 2}
_ALSA_CONFIGURATION = Path("/usr/share/alsa/alsa.conf")
# As V4L2 lists them: "Raw : yuyv422 : YUYV 4:2:2 : 640x480 160x120", sizes at the end.
_V4L2_MODE = re.compile(r"(?:Raw|Compressed)\s*:\s*(?P<codec>\S+) :.* :(?P<sizes>[^:]+)")
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")
# As laptops and phones name theirs.
_FACES = {
    "user": re.compile(r"front|facetime|integrated|internal|user", re.IGNORECASE),
    "environment": re.compile(r"back|rear|environment|world", re.IGNORECASE),
}
_NOBODY = "null"  # ALSA's microphone that hears nothing
_MISSING = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO}


class Device(Struct, frozen=True):
    """A camera or microphone.

    Attributes:
        kind: what it gives.
        name: as FFmpeg opens it.
        label: as people know it.
        modes: codecs and sizes, such as ``mjpeg 1280x720``; empty where the system does not tell.
    """

    kind: Kind
    name: str
    label: str
    modes: tuple[str, ...] = ()


class Opening(Struct, frozen=True):
    """How a device is opened: FFmpeg's name of it, format and options."""

    name: str
    format: str
    options: dict[str, str]
    label: str


def listed(kind: Kind, *, modes: bool = False) -> list[Device]:
    """The devices of one kind.

    Args:
        kind: cameras or microphones.
        modes: whether to ask each camera what it can do, which opens it.
    """
    format_name = _format(kind)
    if format_name is None:
        return []
    _prepare(format_name)
    try:
        found = av.device.enumerate_input_devices(format_name)
    except (OSError, ValueError):  # a build without it, or no such subsystem
        return []
    return [
        Device(
            kind,
            device.name,
            device.description or device.name,
            _modes(device.name, format_name) if modes and kind == "video" else (),
        )
        for device in found
        if (not device.media_types or kind in device.media_types) and device.name != _NOBODY
    ]


def opening(kind: Kind, wanted: Wanted) -> Opening:
    """How the device that ``wanted`` means is opened.

    Raises:
        DeviceMissing: there is none.
    """
    format_name = _format(kind)
    asked = wanted.device if kind == "video" else wanted.microphone
    what = "camera" if kind == "video" else "microphone"
    if format_name is None:
        raise DeviceMissing(f"this system has no {what} that is known here")
    device = chosen(listed(kind), asked, wanted)
    if device is None and asked is not None and os.sep in asked:
        device = Device(kind, asked, asked)  # a path that the system did not list
    if device is None and kind == "audio" and format_name == "alsa" and asked is None:
        device = Device(kind, "default", "default microphone")
    if device is None:
        named = "" if asked is None else f" like {asked}"
        looks = "" if wanted.facing is None or kind == "audio" else f" that faces {wanted.facing}"
        raise DeviceMissing(f"there is no {what}{named}{looks}")
    options = _options(wanted) if kind == "video" else {}
    name = device.name
    if format_name == "dshow":
        name = f"{kind}={name}"
    elif format_name == "avfoundation":
        name = f"{name}:none" if kind == "video" else f"none:{name}"
    return Opening(name, format_name, options, device.label)


def chosen(devices: Sequence[Device], asked: str | None, wanted: Wanted) -> Device | None:
    """The device that is meant: by number of the list, name, part of a name, or where it faces."""
    if asked is not None:
        if asked.isdecimal() and 0 < int(asked) <= len(devices):
            return devices[int(asked) - 1]
        exact = [d for d in devices if asked in (d.name, d.label)]
        partly = [d for d in devices if asked.lower() in d.label.lower()]
        return next(iter(exact or partly), None)
    if wanted.facing is not None:
        faces = _FACES[wanted.facing]
        devices = [d for d in devices if d.kind == "audio" or faces.search(d.label)]
    return next(iter(devices), None)


def open_device(way: Opening) -> av.container.InputContainer:
    """Open a device, which is in use until it is closed.

    Raises:
        LocalFileError: it can't be had; which class says why.
    """
    _prepare(way.format)
    try:
        return av.open(
            way.name,
            "r",
            format=way.format,
            options=way.options,
            timeout=(OPEN_LIMIT, READ_LIMIT),
        )
    except (OSError, ValueError) as error:
        raise refused(error, way.label) from error


def refused(error: Exception, label: str) -> LocalFileError:
    """What it means that the device called ``label`` can't be opened or read."""
    number = getattr(error, "errno", None)
    if number == errno.EBUSY:
        return DeviceBusy(f"{label} is used by another program")
    if number in (errno.EACCES, errno.EPERM):
        return DeviceForbidden(f"{label} may not be used by you")
    if number in _MISSING:
        return DeviceMissing(f"{label} is not there")
    reason = getattr(error, "strerror", None) or type(error).__name__
    return LocalFileError(f"{label} can't be used: {reason}", "try another one with --device")


def parse_modes(lines: Sequence[str]) -> tuple[str, ...]:
    """Codecs and sizes in what FFmpeg says of a V4L2 device."""
    found: list[str] = []
    for line in lines:
        match = _V4L2_MODE.search(line)
        if match is not None:
            found += [f"{match['codec']} {w}x{h}" for w, h in _SIZE.findall(match["sizes"])]
    return tuple(dict.fromkeys(found))


def _modes(name: str, format_name: str) -> tuple[str, ...]:
    if format_name != "v4l2":
        return ()
    with av.logging.Capture(local=True) as said, contextlib.suppress(OSError, ValueError):
        # It fails by design, once it has told them.
        av.open(name, "r", format=format_name, options={"list_formats": "all"}).close()
    return parse_modes([text for _, _, text in said])


def _format(kind: Kind) -> str | None:
    formats = _FORMATS.get(sys.platform)
    return formats[kind == "audio"] if formats is not None else None


def _options(wanted: Wanted) -> dict[str, str]:
    options: dict[str, str] = {}
    if wanted.width is not None and wanted.height is not None:
        options["video_size"] = f"{wanted.width}x{wanted.height}"
    if wanted.rate is not None:
        options["framerate"] = f"{wanted.rate:g}"
    return options


def _prepare(format_name: str) -> None:
    """PyAV's ALSA looks for its configuration where it was built; the system's is elsewhere."""
    if format_name == "alsa" and _ALSA_CONFIGURATION.exists():
        os.environ.setdefault("ALSA_CONFIG_PATH", str(_ALSA_CONFIGURATION))
