"""A camera shared and watched by the real commands; the test pattern stands in for the camera."""

from __future__ import annotations

import io
import os
import shlex
import signal
import termios
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import ExifTags, Image

from p2pxfer.errors import ExitCode
from p2pxfer.media.pattern import Canvas, samples
from tests.e2e.conftest import COMMAND, PATIENCE, Watched
from tests.media import seen

NEAR = 10  # of 255: what a codec at its first bit rate does to a flat colour
SMALL = ("--width", "320", "--height", "240", "--rate", "15")


def serve(machine, *words, **options):
    return machine.run("camera", "serve", "--json", *words, **options)


def watch(machine, command, code, *words, **options):
    options["env"] = {"P2PXFER_CODE": code}
    return machine.run("camera", command, "--json", *words, **options)


def next_code(camera, *before):
    return camera.event("code", lambda event: event["code"] not in before)["code"]


@pytest.mark.parametrize(("codec", "name"), [("vp8", "still.png"), ("h264", "still.jpg")])
def test_a_still_is_what_the_camera_sees(machine, codec, name):
    """Right size, right colours, when and with which camera; then the camera is free again."""
    camera = serve(machine, "--from", "test:", "--codec", codec)
    first = next_code(camera)
    snap = watch(machine, "snap", first, "-o", name)
    assert snap.end() == ExitCode.DONE, snap.err
    (told,) = snap.events("still")
    image = Image.open(machine.path / name)
    assert image.size == (told["width"], told["height"]) == (640, 480)
    rgb = image.convert("RGB")
    assert seen.furthest(lambda x, y: rgb.getpixel((x, y)), 640, 480) <= NEAR
    exif = image.getexif()
    assert exif[ExifTags.Base.ImageDescription] == "test pattern"
    taken = exif.get_ifd(ExifTags.IFD.Exif)
    day, clock = taken[ExifTags.Base.DateTimeOriginal].split()
    moment = f"{day.replace(':', '-')}T{clock}.{taken[ExifTags.Base.SubsecTimeOriginal]}Z"
    assert moment == told["captured"]
    camera.event("left")
    assert next_code(camera, first) != first
    camera.interrupt()
    assert camera.end() == ExitCode.INTERRUPTED


def test_several_stills_are_of_several_moments(machine):
    """Each is numbered, and shows a later picture than the one before."""
    camera = serve(machine, "--from", "test:", "--once", *SMALL)
    snap = watch(
        machine, "snap", next_code(camera), "-o", "s.webp", "--count", "3", "--every", "0.5s"
    )
    assert snap.end() == ExitCode.DONE, snap.err
    numbers = []
    for name in ("s-1.webp", "s-2.webp", "s-3.webp"):
        image = Image.open(machine.path / name).convert("RGB")
        numbers.append(seen.number(lambda x, y, i=image: i.getpixel((x, y)), *image.size))
    assert numbers == sorted(set(numbers))
    assert camera.end() == ExitCode.DONE


def test_a_muted_camera_is_waited_for(machine):
    """By a signal it shows nothing, by a key it does again; both sides say so."""
    camera = machine.terminal("camera", "serve", "--from", "test:", "--code-out", "code", *SMALL)
    camera.until("It works once")
    camera.process.kill(signal.SIGUSR1)
    camera.until("camera is muted")
    snap = watch(machine, "snap", (machine.path / "code").read_text().strip(), "-o", "s.png")
    assert snap.event("muted")["muted"]
    camera.until("v mutes the camera")
    camera.type("v")
    camera.until("camera is no longer muted")
    assert snap.end() == ExitCode.DONE, snap.err
    image = Image.open(machine.path / "s.png").convert("RGB")
    assert seen.furthest(lambda x, y: image.getpixel((x, y)), *image.size) <= NEAR
    assert [event["muted"] for event in snap.events("muted")] == [True, False]
    camera.until("camera is free")
    camera.process.kill(signal.SIGINT)
    camera.end()


def test_a_camera_in_the_background_leaves_the_keys_to_the_shell(machine):
    """Whoever touched the terminal there would be stopped; brought to the front, it has its own."""
    words = (*COMMAND, "camera", "serve", "--from", "test:", "--code-out", "code", *SMALL)
    env = machine.env | {"PS1": "$ "}
    shell = Watched(
        (*machine.isolation, "bash", "--norc", "-i"), env=env, patience=PATIENCE, cwd=machine.path
    )
    shell.type(f"{shlex.join(words)} &\n")
    shell.until("It works once")
    code = (machine.path / "code").read_text().strip()
    snap = watch(machine, "snap", code, "--count", "1000", "--every", "0.1s")
    snap.event("still")
    shell.type("echo $((6 * 7)); jobs\n")
    shell.until("42")
    shell.until("Running")
    terminal = shell.process.fileno()
    before = os.tcgetpgrp(terminal)

    def has_the_keys() -> bool:
        unbuffered = not termios.tcgetattr(terminal)[3] & termios.ICANON
        return os.tcgetpgrp(terminal) != before and unbuffered

    shell.type("fg\n")
    shell.wait(has_the_keys, "the camera's way to the keys")
    shell.type("v")
    shell.until("camera is muted")
    shell.type("\x03")
    shell.until("stopped:")
    shell.wait(lambda: os.tcgetpgrp(terminal) == before, "the shell's way to the keys")
    shell.type("exit\n")
    shell.end()
    snap.end()


def clip(path: Path) -> None:
    """A second of the pattern and the tone, made by other means than what plays it."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=15)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="stereo")
        canvas, tone = Canvas(320, 240), samples()
        for number in range(15):
            frame = canvas.picture(number)
            frame.pts, frame.time_base = number, Fraction(1, 15)
            container.mux(video.encode(frame))
        for at in range(0, 48_000, 1024):
            frame = av.AudioFrame("s16", "stereo", 1024)
            frame.planes[0].update((tone + tone)[4 * at : 4 * (at + 1024)])
            frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
            container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))


def test_a_clip_that_begins_again_is_recorded_with_its_sound(machine):
    """Longer than the clip is, in its colours, and the tone has its frequency."""
    clip(machine.path / "clip.mp4")
    camera = serve(machine, "--from", "clip.mp4", "--loop", "--audio", "--once")
    film = watch(machine, "record", next_code(camera), "-o", "film.webm", "--for", "3s")
    assert film.end() == ExitCode.DONE, film.err
    (told,) = film.events("recorded")
    assert 1.2 < told["seconds"] <= 3.0
    with av.open(str(machine.path / "film.webm")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == told["pictures"]
    assert (frames[-1].width, frames[-1].height) == (320, 240)
    assert seen.furthest(seen.pixels(frames[-1]), 320, 240) <= 2 * NEAR
    sound, rate = seen.heard(machine.path / "film.webm")
    assert len(sound) > rate
    assert seen.tone(sound[rate // 2 : rate], rate) == 440
    assert camera.end() == ExitCode.DONE


def test_several_are_shown_at_once(machine):
    """One still of each, or of the chosen one; a recording has all, with the first one's sound."""
    clip(machine.path / "clip.mp4")
    camera = serve(machine, "--from", "test:", "--from", "clip.mp4", "--loop", "--audio")
    codes = [next_code(camera)]
    snap = watch(machine, "snap", codes[0], "-o", "s.png")
    assert snap.end() == ExitCode.DONE, snap.err
    (shown,) = snap.events("watching")
    assert shown["sources"] == ["test pattern", "clip.mp4"]
    told = {event["source"]: event["path"] for event in snap.events("still")}
    assert told == {"test pattern": "s-camera1.png", "clip.mp4": "s-camera2.png"}
    sizes = [Image.open(machine.path / name).size for name in told.values()]
    assert sizes == [(640, 480), (320, 240)]
    codes.append(next_code(camera, *codes))
    film = watch(machine, "record", codes[1], "-o", "film.mp4", "--for", "2s")
    assert film.end() == ExitCode.DONE, film.err
    with av.open(str(machine.path / "film.mp4")) as container:
        streams = {(s.width, s.height): 0 for s in container.streams.video}
        for frame in container.decode(*container.streams.video):
            assert seen.furthest(seen.pixels(frame), frame.width, frame.height) <= 2 * NEAR
            streams[frame.width, frame.height] += 1
    assert all(streams[size] > 10 for size in sizes), streams
    assert len(streams) == len(sizes)
    sound, rate = seen.heard(machine.path / "film.mp4")
    assert seen.tone(sound[rate // 2 : rate], rate) == 440
    (machine.path / "one.png").touch()
    code = next_code(camera, *codes)
    snap = watch(machine, "snap", code, "--camera", "clip", "--overwrite", "-o", "one.png")
    assert snap.end() == ExitCode.DONE, snap.err
    assert Image.open(machine.path / "one.png").size == (320, 240)
    camera.interrupt()
    camera.end()


def test_a_clip_that_ends_ends_the_recording(machine):
    """All of it, piped on as it comes; nobody has to say when."""
    clip(machine.path / "clip.mp4")
    camera = serve(machine, "--from", "clip.mp4", "--once")
    film = watch(machine, "record", next_code(camera), "-o", "-", told="err")
    out = film.out
    assert film.end() == ExitCode.DONE
    with av.open(io.BytesIO(out)) as container:
        assert container.format.name.startswith("matroska")
        assert len(list(container.decode(video=0))) == film.events("recorded")[0]["pictures"]
    assert camera.end() == ExitCode.DONE


def test_ctrl_c_keeps_the_recording_and_frees_the_camera(machine):
    """What was recorded until then can be played."""
    camera = serve(machine, "--from", "test:", *SMALL)
    film = watch(machine, "record", next_code(camera), "-o", "film.mkv")
    film.event("recording")
    film.interrupt()
    assert film.end() == ExitCode.INTERRUPTED
    with av.open(str(machine.path / "film.mkv")) as container:
        assert len(list(container.decode(video=0))) == film.events("recorded")[0]["pictures"]
    camera.event("left")
    camera.interrupt()
    camera.end()


def test_a_killed_watcher_frees_the_camera(machine):
    """It can't say goodbye, and is missed all the same."""
    camera = serve(machine, "--from", "test:", *SMALL)
    film = watch(machine, "record", next_code(camera), "-o", "film.mkv")
    camera.event("watching")
    film.kill()
    camera.event("left")
    camera.interrupt()
    camera.end()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--device", "/dev/video99"), "DeviceMissing"),
        (("--facing", "user"), "DeviceMissing"),
        (("--from", "missing.mp4"), "LocalFileError"),
    ],
)
def test_a_source_that_can_not_be_had_is_told_before_there_is_a_code(machine, words, error):
    """With what to type next."""
    camera = serve(machine, *words)
    assert camera.end() == ExitCode.LOCAL_FILES
    assert not camera.events("code")
    (told,) = camera.events("error")
    assert told["name"] == error
    assert "camera list" in told["hint"] or "test:" in told["hint"]


def test_a_device_that_may_not_be_used_is_told(machine):
    """To whom the system forbids it; here by the mode of what stands where a device would."""
    device = machine.path / "video0"
    device.touch()
    device.chmod(0)
    powers = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
    camera = serve(machine, "--device", str(device), before=powers if os.geteuid() == 0 else ())
    assert camera.end() == ExitCode.LOCAL_FILES
    assert camera.events("error")[0]["name"] == "DeviceForbidden"


def test_whoever_receives_from_a_camera_learns_what_to_type(machine):
    """And a still is not replaced unasked, which is told before anybody is asked for anything."""
    camera = serve(machine, "--from", "test:", *SMALL)
    receiver = machine.receive(next_code(camera))
    assert receiver.end() == ExitCode.INTEGRITY
    assert "p2pxfer camera snap" in receiver.events("error")[0]["hint"]
    camera.interrupt()
    camera.end()
    (machine.path / "still.jpg").touch()
    snap = watch(machine, "snap", "7-orbit-lamp", "-o", "still.jpg")
    assert snap.end() == ExitCode.LOCAL_FILES
    assert "--overwrite" in snap.events("error")[0]["hint"]


def test_show_writes_a_picture_where_the_terminal_has_none(machine):
    """What others would see, without anybody else."""
    shown = machine.run("camera", "show", "--from", "test:", "-o", "me.png")
    assert shown.end() == ExitCode.DONE, shown.err
    image = Image.open(machine.path / "me.png").convert("RGB")
    assert seen.furthest(lambda x, y: image.getpixel((x, y)), *image.size) <= NEAR
    listed = machine.run("camera", "list", "--json")
    assert listed.end() == ExitCode.DONE
