"""What is loaded later than aiortc expects: it is the real thing whenever it is used."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from p2pxfer.peer.loading import LateName

LOADED = """
import sys
from p2pxfer.peer import loading
loading.without_media()
{before}
loading.load()
loaded = {{"av", "dns"}} & set(sys.modules)
assert loaded == {expected}, loaded
"""
USED = """
import av, fractions, aioice.ice, aiortc.mediastreams
from aiortc.codecs import depayload, get_decoder, get_encoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from p2pxfer.peer import encoders, names

for mime in ("video/VP8", "video/H264"):
    codec = RTCRtpCodecParameters(mimeType=mime, clockRate=90000, payloadType=100)
    frame = av.VideoFrame(64, 48, "yuv420p")
    frame.pts, frame.time_base = 0, fractions.Fraction(1, 90000)
    payloads, _ = get_encoder(codec).encode(frame)
    encoded = JitterFrame(b"".join(depayload(codec, part) for part in payloads), timestamp=0)
    (decoded,) = get_decoder(codec).decode(encoded)
    assert (decoded.width, decoded.height) == (64, 48)

assert aiortc.rtcrtpreceiver.av.FFmpegError is av.FFmpegError
names.understand_browsers()
asked = ("7d2e-a1.local", "a.b.local", "192.0.2.1", "fe80::1", "localhost")
assert [aioice.ice.mdns.is_mdns_hostname(name) for name in asked] == [True] + 4 * [False]
assert aioice.ice.mdns.MDnsProtocol is names.TolerantProtocol
assert isinstance(frame, aiortc.mediastreams.VideoFrame)
assert not isinstance(frame, aiortc.mediastreams.AudioFrame)
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", set()),
        ("import av", {"av"}),
        ("import aioice", {"dns"}),
        # aiortc wants one that nothing stands for
        ("loading.MEDIA = ('av', 'av.frame')", {"av", "dns"}),
    ],
)
def test_all_of_it_works_however_it_was_loaded(before, expected):
    """Codecs and names, after a load that put them off and after one that could not."""
    script = LOADED.format(before=before, expected=expected or "set()") + USED
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_late_name_is_what_it_stands_for():
    """In checks, calls, attributes, and under a class that is made of it."""
    late = LateName("fractions", "Fraction")
    assert isinstance(Fraction(1), late)
    assert not isinstance(1.0, late)
    assert issubclass(Fraction, late)
    assert late(1, 2) == Fraction(1, 2)
    assert late.from_float(0.5) == Fraction(1, 2)

    class Third(late):
        """A class of it."""

    assert isinstance(Third(1, 3), Fraction)
