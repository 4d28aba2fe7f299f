"""The one door for a peer's names."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2pxfer.errors import UnsafeName
from p2pxfer.files.paths import MAX_DEPTH, NameRules, SafePath, safe_target
from p2pxfer.manifest import MAX_PATH

ATTACKS = [
    b"",
    b".",
    b"..",
    b"/",
    b"/etc/passwd",
    b"//host/share",
    b"../x",
    b"a/../b",
    b"a/../../x",
    b"dir/../../x",
    b"a/..",
    b"a/.",
    b"./a",
    b"a//b",
    b"a/",
    b"a\0b",
    b"a/b\0/../c",
]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("rules", list(NameRules))
def test_names_that_lead_out_are_refused(name, rules):
    """Dots, slashes in the wrong place and NULs pass under no rules."""
    with pytest.raises(UnsafeName):
        SafePath.parse(name, rules)


components = st.binary(min_size=1, max_size=12).map(
    lambda part: part.replace(b"/", b"_").replace(b"\0", b"_")
)


@given(st.binary(max_size=40))
@example(b"../" * 5 + b"x")
@example(b"a/./b")
def test_whatever_passes_stays_below_the_root(name):
    """Any bytes are refused, or name something strictly below the root."""
    try:
        path = SafePath.parse(name, NameRules.POSIX)
    except UnsafeName:
        return
    joined = os.path.join(b"/root/dir", path.raw)
    assert os.path.normpath(joined) == joined
    assert joined.startswith(b"/root/dir/")
    assert b"/".join(path.parts) == name


@given(st.lists(components, min_size=1, max_size=8))
def test_posix_takes_every_other_name(parts):
    """POSIX refuses nothing but empty, dot, dot-dot, slash and NUL."""
    ok = all(part not in (b".", b"..") for part in parts)
    try:
        assert SafePath.parse(b"/".join(parts), NameRules.POSIX).parts == tuple(parts)
        assert ok
    except UnsafeName:
        assert not ok


@pytest.mark.parametrize(
    "name",
    [b"-rf", b"con", b"a:b", b"a\\b", b"trailing ", b"dot.", b"\x01\x1b[2J", b"\xff\xfe", b"..."],
)
def test_posix_takes_odd_names(name):
    """Names that only look odd reach a POSIX disk."""
    assert SafePath.parse(name, NameRules.POSIX).name == name


@pytest.mark.parametrize(
    "name",
    [
        "CON", "con", "Nul.txt", "nul.tar.gz", "aux", "PRN", "COM1", "com9.log", "LPT0", "COM¹",
        "lpt³.x", "CONIN$", "conout$.txt", "nul .txt", "CLOCK$", "a:b", "file.txt:stream",
        "a\\b", "..\\x", "C:", "trailing ", "dot.", "...", " .", 'quo"te', "what?", "st*r", "a|b",
        "<x>", "tab\t", "esc\x1b", "del\x7f", "x" * 256, "😀" * 128,
    ],
)  # fmt: skip
def test_portable_rules_refuse_what_windows_does(name):
    """Devices, streams, backslashes, trailing dots and spaces, controls, and too long names."""
    with pytest.raises(UnsafeName):
        SafePath.parse(b"dir/" + name.encode() + b"/file", NameRules.PORTABLE)


@pytest.mark.parametrize(
    "name", ["console", "com10", "nulls.txt", "a.b", " leading", "é", "😀" * 127, ".hidden", "COM"]
)
def test_portable_rules_take_ordinary_names(name):
    """Names that only resemble those refused pass."""
    assert SafePath.parse(name.encode(), NameRules.PORTABLE).name == name.encode()


def test_portable_names_are_utf_8():
    """A stray byte has no name on Windows."""
    with pytest.raises(UnsafeName, match="UTF-8"):
        SafePath.parse(b"caf\xe9", NameRules.PORTABLE)


def test_length_and_depth_are_bounded():
    """Longer or deeper than any tree is refused before it costs anything."""
    SafePath.parse(b"/".join([b"a"] * MAX_DEPTH), NameRules.POSIX)
    with pytest.raises(UnsafeName, match="deeper"):
        SafePath.parse(b"/".join([b"a"] * (MAX_DEPTH + 1)), NameRules.POSIX)
    with pytest.raises(UnsafeName, match="longer"):
        SafePath.parse(b"a" * (MAX_PATH + 1), NameRules.POSIX)


def test_only_parse_makes_a_safe_path():
    """There is no other way in."""
    with pytest.raises(TypeError):
        SafePath()


@pytest.mark.parametrize(
    ("target", "depth"),
    [
        (b"", 1),
        (b"/etc/passwd", 3),
        (b"..", 0),
        (b"../x", 0),
        (b"../../x", 1),
        (b"a/../../x", 1),
        (b"up/../../secret", 2),  # where "up" is itself a link to "..", this leaves
        (b"a/..", 5),
        (b"x\0y", 1),
        (b"x" * 5000, 1),
    ],
)
def test_targets_that_may_leave_are_refused(target, depth):
    """Absolute, climbing too far, or climbing after a name."""
    assert safe_target(target, depth, NameRules.POSIX) is not None


@pytest.mark.parametrize(
    ("target", "depth"),
    [(b"x", 0), (b"../x", 1), (b"./../.././x/y", 2), (b"a/b/", 0), (b".", 0), (b"..", 1)],
)
def test_targets_that_stay_pass(target, depth):
    """Siblings, children, and as far up as the tree goes."""
    assert safe_target(target, depth, NameRules.POSIX) is None


def test_portable_targets_know_backslashes():
    """What POSIX takes for a name, Windows takes for a way out."""
    assert safe_target(b"..\\..\\x", 1, NameRules.POSIX) is None
    assert safe_target(b"..\\..\\x", 1, NameRules.PORTABLE) is not None
    assert safe_target(b"C:\\x", 1, NameRules.PORTABLE) is not None
