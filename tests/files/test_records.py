"""The bytes of a journal: what survives damage, and what hostile ones can't do."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.files import framing, records
from p2pxfer.files.records import Header, Identity, Kind, Partial, Placed, loaded
from tests.files.resuming import header

TEMPORARY = b".f.p2pxfer-0123456789ab"
NUMBERS = st.integers(0, 2**64 - 1)
SIGNED = st.integers(-(2**63), 2**63 - 1)
NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: not {b"/"[0], 0} & set(name) and name not in (b".", b"..")
)


def journal():
    """A journal's bytes, record by record."""
    return [
        header("/out").encoded(),
        records.partial_record(Partial(b"big", TEMPORARY, 2, 3, 4)),
        records.placed_records([Placed(b"d/a", b"a", Identity(5, 6, -7))]),
        records.partial_record(Partial(b"small", TEMPORARY)),
        records.placed_records([Placed(b"d/b", b"b (1)", Identity(8, 9, 10))]),
    ]


def told(contents):
    """What was loaded, comparable."""
    return (
        contents.header,
        contents.partials,
        {path: contents.placed(path) for path in (b"d/a", b"d/b")},
    )


def test_everything_comes_back():
    """Header, temporaries and placed files."""
    contents = loaded(b"".join(journal()))
    assert contents.header == header("/out")
    assert contents.partials == {
        b"big": Partial(b"big", TEMPORARY, 2, 3, 4),
        b"small": Partial(b"small", TEMPORARY),
    }
    assert contents.placed(b"d/b") == [Placed(b"d/b", b"b (1)", Identity(8, 9, 10))]
    assert contents.placed(b"nothing") == []
    assert len(contents) == 2


@given(path=st.binary(max_size=200), name=NAMES, numbers=st.tuples(NUMBERS, SIGNED, SIGNED))
def test_any_name_and_number(path, name, numbers):
    """Bytes that are no text, and the extremes of integers."""
    placed = Placed(path, name, Identity(*numbers))
    assert loaded(records.placed_records([placed])).placed(path) == [placed]


def test_what_came_later_counts():
    """Settling forgets temporaries of what was placed; what was only intended may be there yet."""
    data = b"".join(journal())
    both = records.placed_records([Placed(b"big", b"big", Identity(2, 3, 4))])
    assert set(loaded(data + both).partials) == {b"big", b"small"}
    assert set(loaded(data + framing.encoded(Kind.SETTLED)).partials) == {b"big", b"small"}
    small = records.placed_records([Placed(b"small", b"small", Identity(11, 3, 4))])
    assert set(loaded(data + small + framing.encoded(Kind.SETTLED)).partials) == {b"big"}
    assert loaded(data + both + small + framing.encoded(Kind.SETTLED)).partials == {}
    again = records.partial_record(Partial(b"small", TEMPORARY))
    late = loaded(data + small + again + framing.encoded(Kind.SETTLED))
    assert set(late.partials) == {b"big", b"small"}
    other = records.placed_records([Placed(b"big", b"big", Identity(99, 3, 4))])
    kept = loaded(data + other + small + framing.encoded(Kind.SETTLED))
    assert set(kept.partials) == {b"big"}
    gone = loaded(data + records.forgotten_records([b"big", b"d/a"]))
    assert set(gone.partials) == {b"small"}
    assert gone.placed(b"d/a") == []


def test_a_disk_has_another_number_when_it_is_plugged_in_again():
    """What is on it is the same all the same; another inode, size or mtime is another file."""
    found = SimpleNamespace(st_dev=2049, st_ino=12, st_size=70, st_mtime_ns=5)
    assert Identity.of(SimpleNamespace(**{**vars(found), "st_dev": 2065})) == Identity.of(found)
    for what in ("st_ino", "st_size", "st_mtime_ns"):
        assert Identity.of(SimpleNamespace(**{**vars(found), what: 99})) != Identity.of(found)


def test_a_temporary_that_is_numbered_anew_is_still_the_same():
    """A journal that came later tells of it under another inode: it is not taken for useless."""
    old = loaded(records.partial_record(Partial(b"big", TEMPORARY, 2, 3, 4)))
    new = loaded(records.partial_record(Partial(b"big", TEMPORARY, 77, 3, 4)))
    assert old.merge(new) == []
    assert old.partials[b"big"].inode == 77
    other = Partial(b"big", b".f.p2pxfer-ba9876543210", 77, 3, 4)
    replaced = old.merge(loaded(records.partial_record(other)))
    assert [partial.temporary for partial in replaced] == [TEMPORARY]


def test_cut_at_every_byte():
    """Every record that is whole counts, and nothing else."""
    parts = journal()
    data = b"".join(parts)
    whole = [told(loaded(b"".join(parts[:count]))) for count in range(len(parts) + 1)]
    ends = [sum(map(len, parts[:count])) for count in range(len(parts) + 1)]
    for cut in range(len(data) + 1):
        count = sum(end <= cut for end in ends) - 1
        assert told(loaded(data[:cut])) == whole[count]


def test_every_flipped_bit():
    """One damaged record is lost; those before and after it count."""
    parts = journal()
    data = b"".join(parts)
    without = [told(loaded(b"".join(parts[:n] + parts[n + 1 :]))) for n in range(len(parts))]
    at = 0
    for number, part in enumerate(parts):
        for bit in range(len(part) * 8):
            damaged = bytearray(data)
            damaged[at + bit // 8] ^= 1 << bit % 8
            assert told(loaded(bytes(damaged))) == without[number]
        at += len(part)


@given(st.binary(max_size=300), st.integers(0, 4))
def test_rubbish_between_records(rubbish, place):
    """It hides none of them, unless it says that it holds them."""
    parts = journal()
    between = b"".join(parts[:place]) + rubbish + b"".join(parts[place:])
    assert told(loaded(between)) == told(loaded(b"".join(parts)))


@given(st.binary(max_size=2000))
def test_rubbish_alone(data):
    """Nothing comes of it, and nothing is raised."""
    contents = loaded(data)
    assert (contents.header, contents.partials, len(contents)) == (None, {}, 0)


@pytest.mark.parametrize(
    "name", [b"", b".", b"..", b"../x", b"/etc/passwd", b"a/b", b"a\0b", b"precious", b".f.part"]
)
def test_a_temporary_has_a_name_that_we_draw(name):
    """No journal makes us open or remove anything else; placed names stay in their folder."""
    assert loaded(records.partial_record(Partial(b"f", name, 2))).partials == {}
    placed = loaded(records.placed_records([Placed(b"f", name, Identity(2, 3, 4))])).placed(b"f")
    assert (not placed) == (b"/" in name or b"\0" in name or name in (b"", b".", b".."))


def test_lengths_that_lie():
    """A path longer than its record, a header with a field too long: passed over."""
    body = bytearray(records.placed_records([Placed(b"path", b"name", Identity(2, 3, 4))])[13:])
    body[27] = 200
    assert len(loaded(framing.encoded(Kind.PLACED, bytes(body)))) == 0
    for length in range(60):
        assert loaded(framing.encoded(Kind.PLACED, bytes(length))).partials == {}
        assert loaded(framing.encoded(Kind.HEADER, b"\2" * length)).header is None


def test_headers_of_other_versions():
    """An unknown version is none that we understand; a relative output leads nowhere."""
    body = header("/out").encoded()[13:]
    assert Header.decoded(body) == header("/out")
    assert Header.decoded(b"\1" + body[1:]) is None
    assert Header.decoded(b"\3" + bytes(500)) is None
    assert Header.decoded(header("out").encoded()[13:]) is None
    assert Header.decoded(body + b"x") is None
    assert Header.decoded(body[:-1]) is None


def test_a_header_is_bounded():
    """A label is cut; a secret has its length; an output without end is refused."""
    long = msgspec.structs.replace(header("/out"), label=b"x" * 10**6)
    assert Header.decoded(long.encoded()[13:]).label == b"x" * records.MAX_LABEL
    for wrong in ({"secret": b"short"}, {"resume_id": b""}, {"output": b"/" * 10**6}):
        with pytest.raises(ValueError, match=r"16 bytes|no journal takes"):
            msgspec.structs.replace(header("/out"), **wrong).encoded()


def test_secrets_are_not_shown():
    """Neither the secret nor the code's digest is in a repr."""
    shown = repr(msgspec.structs.replace(header("/out"), code=b"cccc"))
    assert "ssss" not in shown
    assert "cccc" not in shown
