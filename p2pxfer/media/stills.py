"""Stills: one picture as JPEG, PNG or WebP, with when and where it was taken inside."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct
from PIL import ExifTags, Image, PngImagePlugin

SUFFIXES: Final = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
QUALITY: Final = 92  # of JPEG and WebP: the codec's own losses stay larger
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": QUALITY},
    "PNG": {},
    "WEBP": {"quality": QUALITY},
}


class Still(Struct, frozen=True):
    """An encoded picture. ``width`` and ``height`` are in pixels."""

    data: bytes
    width: int
    height: int


def encode(frame: Any, kind: str, *, captured: float, source: str, software: str) -> Still:
    """Encode one decoded picture.

    Args:
        frame: PyAV's ``VideoFrame``.
        kind: ``JPEG``, ``PNG`` or ``WEBP``.
        captured: when it was taken, seconds since 1970.
        source: what it shows, as the camera's side calls it; only printable ASCII of it is kept.
        software: what has taken it, with its version.
    """
    image = _image(frame)
    label = "".join(c for c in source if c.isascii() and c.isprintable())
    options = dict(_OPTIONS[kind])
    options["exif"] = _exif(captured, label, software)
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Creation Time", _time(captured).isoformat(timespec="milliseconds"))
        text.add_text("Source", label)
        text.add_text("Software", software)
        options["pnginfo"] = text
    out = io.BytesIO()
    image.save(out, kind, **options)
    return Still(out.getvalue(), image.width, image.height)


def shrunk(frame: Any, width: int, height: int) -> list[list[tuple[int, int, int]]]:
    """Rows of red, green and blue of a picture that fits into ``width`` times ``height``."""
    image = _image(frame)
    scale = min(width / image.width, height / image.height)
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    raw = image.resize(size, Image.Resampling.BOX).tobytes()
    pixels = [(raw[at], raw[at + 1], raw[at + 2]) for at in range(0, len(raw), 3)]
    return [pixels[at : at + size[0]] for at in range(0, len(pixels), size[0])]


def _image(frame: Any) -> Image.Image:
    plane = (drawn := frame.reformat(format="rgb24")).planes[0]
    size = drawn.width, drawn.height
    return Image.frombytes("RGB", size, bytes(plane), "raw", "RGB", plane.line_size, 1)


def _time(captured: float) -> datetime:
    return datetime.fromtimestamp(captured, UTC)


def _exif(captured: float, label: str, software: str) -> Image.Exif:
    """Exif 2.32, tags of sections 4.6.4 and 4.6.5."""
    at = _time(captured)
    text = at.strftime("%Y:%m:%d %H:%M:%S")
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = label
    exif[ExifTags.Base.Software] = software
    exif[ExifTags.Base.DateTime] = text
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = text
    details[ExifTags.Base.OffsetTimeOriginal] = "+00:00"
    details[ExifTags.Base.SubsecTimeOriginal] = f"{at.microsecond // 1000:03}"
    return exif
