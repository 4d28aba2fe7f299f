"""A paired sender that is after what other transfers have left, or what was there before any.

It tries to overwrite, read or probe it. Whatever it knows and claims, it is told of no block, and
nothing of anybody else's changes, unless it proves to have begun that very transfer, or the user
said that existing files, or any partial ones, may be built on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pxfer.errors import PartlyDone, PeerGone, PeerMisbehaved, StreamLost
from p2pxfer.files.hashing import block_digest
from p2pxfer.manifest import MIN_BLOCK, Entry, Failure
from p2pxfer.pairing.keys import Role, SessionKeys, resume_id, resume_proof
from p2pxfer.progress import Advanced
from p2pxfer.session.resume import PROOF
from p2pxfer.session.summary import Summary
from p2pxfer.transfer import messages as m
from tests.session.conftest import Attack, eventually
from tests.session.ends import MTIME, OFFER, file, manifest, paired, whole
from tests.session.test_hostile_sender import Undecided, conclude, skipped

HELLO = m.Hello(m.OLDEST_VERSION, m.VERSION, m.CAPABILITIES)
BLOCKS = [os.urandom(MIN_BLOCK) for _ in range(3)]
CONTENT = b"".join(BLOCKS)
SECRET = os.urandom(len(CONTENT))  # what the attacker wants to know of, or to destroy


class Earlier(NamedTuple):
    """A transfer that was cut off."""

    keys: SessionKeys
    partial: Path
    content: bytes


def proof(of: SessionKeys, within: SessionKeys) -> m.Proof:
    """What an honest sender of ``of`` says to the receiver that it shares ``within`` with."""
    return m.Proof(((resume_id(of.secret), made(of, within)),))


def made(of: SessionKeys, within: SessionKeys) -> bytes:
    return resume_proof(of.secret, within.key(PROOF, Role.A))


async def offer(attack: Attack, *entries: Entry, proof: m.Proof | None = None) -> m.Want:
    """Offer, as somebody who can resume; up to the decision on all of it."""
    await attack.peer.say(HELLO, OFFER, *([proof] if proof else []), *manifest(*entries))
    await attack.peer.hear(m.Accept)
    want = await attack.peer.hear(m.Want)
    while want.through < len(entries):
        want = await attack.peer.hear(m.Want)
    return want


@pytest.fixture
async def earlier(as_sender) -> AsyncIterator[Callable]:
    """Cuts an honest transfer off, of `SECRET` after two blocks; afterwards, tidies up.

    Before it, the transfer has placed a file of its own, whose name ends in ``.done``.
    """
    made: list[Path] = []

    async def cut_off(name: bytes, **options: object) -> Earlier:
        attack = as_sender(resume="auto", **options)
        await offer(attack, file(name + b".done", MIN_BLOCK), file(name, len(SECRET)))
        frames = whole(1, SECRET)
        await attack.peer.say(*whole(0, SECRET[:MIN_BLOCK]), *frames[: 2 * len(frames) // 3])
        await eventually(lambda: [p for p in partials(attack.out, name) if p.stat().st_size])
        (partial,) = partials(attack.out, name)
        attack.peer.channel.close()
        await attack.ends(PeerGone)
        made.append(partial)
        return Earlier(attack.peer.keys, partial, partial.read_bytes())

    yield cut_off
    for partial in made:
        partial.unlink(missing_ok=True)


def partials(out: Path, name: bytes) -> list[Path]:
    return list(out.glob(f".{os.fsdecode(name)}.p2pxfer-*"))


def journals(home: Path) -> list[Path]:
    return sorted(home.rglob("*.journal"))


def haves(attack: Attack) -> dict[int, tuple[bytes, ...]]:
    """What it was told to be there, by entry."""
    return {have.number: have.digests for have in attack.peer.all(m.Have)}


async def test_whoever_proves_it_goes_on(as_sender, earlier):
    """The script itself is sound: the honest sender is told of its blocks, and leaves them out."""
    cut = await earlier(b"a")
    attack = as_sender(resume="auto")
    entry = file(b"a", len(SECRET))
    await offer(attack, entry, proof=proof(cut.keys, attack.peer.keys))
    (held,) = haves(attack).values()
    first = SECRET[:MIN_BLOCK]
    assert held[0] == block_digest(first)
    begin, header, *_ = frames = whole(0, SECRET)
    kept = m.Block(0, 0, MIN_BLOCK, block_digest(first), kept=True)
    assert isinstance(header, m.Block)
    second = next(at for at, f in enumerate(frames) if isinstance(f, m.Block) and f.index == 1)
    await attack.peer.say(begin, kept, *frames[second:])
    await conclude(attack, (entry, SECRET, None))
    assert isinstance(await attack.result(), Summary)
    assert attack.files() == {"a": SECRET, "a.done": SECRET[:MIN_BLOCK]}


FORGERIES = {
    "nothing": lambda _old, _now: None,
    "the id alone": lambda old, _now: m.Proof(((resume_id(old.secret), bytes(32)),)),
    "an id and its own secret": lambda old, now: m.Proof(
        ((resume_id(old.secret), made(now, now)),)
    ),
    "a proof of another session": lambda old, _now: proof(old, paired()[0]),
    "the proof of the session itself": lambda old, _now: proof(old, old),
    "its own session": lambda _old, now: proof(now, now),
    "another's proof under its own id": lambda old, now: m.Proof(
        ((resume_id(now.secret), made(old, now)),)
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_it_claims_a_transfer_that_it_did_not_begin(as_sender, earlier, home, forge):
    """It is told of no block, its file goes aside, and the other's partial and journal stay."""
    cut = await earlier(b"a")
    remembered = journals(home)
    attack = as_sender(resume="auto")
    entry = file(b"a", len(CONTENT))
    await offer(attack, entry, proof=forge(cut.keys, attack.peer.keys))
    await attack.peer.say(*whole(0, CONTENT))
    await conclude(attack, (entry, CONTENT, None))
    assert isinstance(await attack.result(), Summary)
    assert haves(attack) == {}
    assert cut.partial.read_bytes() == cut.content
    assert journals(home) == remembered
    assert (attack.out / "a").read_bytes() == CONTENT


async def test_it_proves_its_own_transfer_and_asks_for_another(as_sender, earlier):
    """Of two that were cut off, it gets what it began, and learns nothing of the other."""
    own, others = await earlier(b"own"), await earlier(b"other")
    attack = as_sender(resume="auto")
    entries = file(b"other", len(SECRET)), file(b"own", len(SECRET))
    await offer(attack, *entries, proof=proof(own.keys, attack.peer.keys))
    assert list(haves(attack)) == [1]
    attack.peer.channel.close()
    await attack.ends(PeerGone)
    assert others.partial.read_bytes() == others.content


async def test_it_proves_a_transfer_that_went_elsewhere(as_sender, earlier, tmp_path, home):
    """A proof opens the folder that the transfer went into, and no other."""
    cut = await earlier(b"a")
    remembered = journals(home)
    attack = as_sender(resume="auto", output=tmp_path / "elsewhere")
    await offer(attack, file(b"a", len(SECRET)), proof=proof(cut.keys, attack.peer.keys))
    attack.peer.channel.close()
    await attack.ends(PeerGone)
    assert haves(attack) == {}
    assert cut.partial.read_bytes() == cut.content
    assert set(remembered) < set(journals(home))


@pytest.mark.parametrize("existing", ["overwrite", "update", "rename"])
async def test_it_names_the_partial_itself(as_sender, earlier, existing):
    """A temporary's own name is refused under every policy: neither overwritten nor read."""
    cut = await earlier(b"a")
    attack = as_sender(resume="auto", existing=existing)
    entry = file(os.fsencode(cut.partial.name), len(SECRET))
    assert skipped(await offer(attack, entry)) == {0: Failure.EXISTS}
    await conclude(attack, (entry, None, Failure.EXISTS))
    await attack.ends(PartlyDone)
    assert haves(attack) == {}
    assert cut.partial.read_bytes() == cut.content


async def test_it_says_that_another_transfer_is_lost(as_sender, earlier, home):
    """What it can't prove to be its own it can't have removed either, under the same code."""
    cut = await earlier(b"a")
    remembered = journals(home)
    attack = as_sender(resume="auto")
    await attack.peer.say(HELLO, m.Abort(m.AbortCode.STREAM_LOST, ""))
    await attack.ends(StreamLost)
    assert cut.partial.read_bytes() == cut.content
    assert journals(home) == remembered


# Before somebody accepts


async def test_it_proves_everything_before_anybody_accepts(as_sender, earlier, home):
    """Even the honest sender of the transfer learns nothing before, and nothing is touched."""
    cut = await earlier(b"a")
    remembered = journals(home)
    before = cut.partial.stat()
    attack = as_sender(resume="auto", interaction=Undecided())
    entry = file(b"a", len(SECRET))
    await attack.peer.say(
        HELLO, OFFER, proof(cut.keys, attack.peer.keys), *manifest(entry), m.Ping(0, 0, 0)
    )
    await attack.peer.hear(m.Pong)
    await eventually(lambda: attack.answers.offers)
    await attack.peer.say(m.Ping(1, 0, 0))
    await attack.peer.hear(m.Pong)
    assert haves(attack) == {}
    assert journals(home) == remembered
    after = cut.partial.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    attack.peer.channel.close()
    await attack.ends(PeerGone)


@pytest.mark.parametrize(
    "frame",
    [
        m.Have(0, 0, (bytes(32),)),
        m.FileBegin(0, len(SECRET), 0o644, MTIME),
        m.Block(0, 0, MIN_BLOCK, bytes(32), kept=True),
    ],
    ids=["digests", "a file", "a kept block"],
)
async def test_it_begins_before_anybody_accepts(as_sender, earlier, frame):
    """Misbehaviour, whatever it proves; what was there stays for a better sender."""
    cut = await earlier(b"a")
    attack = as_sender(resume="auto", interaction=Undecided())
    entry = file(b"a", len(SECRET))
    await attack.peer.say(HELLO, OFFER, proof(cut.keys, attack.peer.keys), *manifest(entry))
    await eventually(lambda: attack.answers.offers)
    await attack.peer.say(frame)
    await attack.ends(PeerMisbehaved)
    assert cut.partial.read_bytes() == cut.content


# Blocks that it leaves out


@pytest.fixture
def there(tmp_path) -> Iterator[Path]:
    """A file of the user's, where the attacker's is to go."""
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "a"
    path.write_bytes(SECRET)
    yield path
    assert path.read_bytes() == SECRET


@pytest.mark.parametrize("guess", [SECRET[:MIN_BLOCK], BLOCKS[0]], ids=["right", "wrong"])
async def test_it_guesses_a_block_of_an_existing_file(as_sender, there, guess):
    """Right or wrong, it hears the same: what was not offered can't be kept."""
    attack = as_sender(resume="auto", existing="overwrite")
    await offer(attack, file(there.name.encode(), len(SECRET)))
    assert haves(attack) == {}
    await attack.peer.say(
        m.FileBegin(0, len(SECRET), 0o644, MTIME),
        m.Block(0, 0, MIN_BLOCK, block_digest(guess), kept=True),
    )
    error = await attack.ends(PeerMisbehaved)
    assert error.message == "the other side left out a block that it was not offered"


@pytest.mark.parametrize(
    ("index", "digest"),
    [(0, block_digest(BLOCKS[0])), (0, block_digest(SECRET[MIN_BLOCK : 2 * MIN_BLOCK]))],
    ids=["never offered", "offered for another place"],
)
async def test_it_keeps_what_it_was_not_offered(as_sender, there, index, digest):
    """With digests at hand it still can't have a block in another place, or one of its own."""
    attack = as_sender(resume="auto", existing="update")
    await offer(attack, file(there.name.encode(), len(SECRET)))
    assert len(haves(attack)[0]) == 3
    await attack.peer.say(
        m.FileBegin(0, len(SECRET), 0o644, MTIME),
        m.Block(0, index, MIN_BLOCK, digest, kept=True),
    )
    await attack.ends(PeerMisbehaved, "not offered")


async def test_it_begins_with_another_size_than_it_listed(as_sender, there):
    """Digests of one cut are not taken for blocks of another."""
    attack = as_sender(resume="auto", existing="update")
    await offer(attack, file(there.name.encode(), len(SECRET)))
    huge = 4096 * MIN_BLOCK
    await attack.peer.say(
        m.FileBegin(0, huge, 0o644, MTIME),
        m.Block(0, 0, 2 * MIN_BLOCK, haves(attack)[0][0], kept=True),
    )
    await attack.ends(PeerMisbehaved, "not offered")


@pytest.mark.parametrize("existing", ["fail", "skip", "overwrite", "rename", "ask"])
async def test_it_lists_existing_files(as_sender, there, existing):
    """Under every policy but update it is told whether the name is free, and no block."""
    attack = as_sender(resume="auto", existing=existing)
    await offer(attack, file(there.name.encode(), len(SECRET)))
    assert haves(attack) == {}
    attack.peer.channel.close()
    await attack.ends(PeerGone)


@pytest.mark.parametrize("existing", ["fail", "ask"])
@pytest.mark.parametrize("wrong", [0, len(SECRET) - 1, None], ids=["first", "last", "none"])
async def test_it_guesses_a_file_whose_attributes_it_knows(as_sender, there, wrong, existing):
    """All of the guess has to travel; then it hears whether that was right, not what was wrong."""
    there.chmod(0o644)
    os.utime(there, ns=(MTIME, MTIME))
    guess = bytearray(SECRET)
    if wrong is not None:
        guess[wrong] ^= 1
    attack = as_sender(resume="auto", existing=existing)
    entry = file(there.name.encode(), len(SECRET))
    assert skipped(await offer(attack, entry)) == {}
    *content, end = whole(0, bytes(guess))
    await attack.peer.say(*content)
    await eventually(lambda: attack.events.all(Advanced))
    await asyncio.sleep(0.05)
    assert haves(attack) == {}
    assert not attack.peer.all(m.Failed)
    await attack.peer.say(end)
    failure = None if wrong is None else Failure.EXISTS
    await conclude(attack, (entry, bytes(guess) if failure is None else None, failure))
    if failure is None:
        assert isinstance(await attack.result(), Summary)
    else:
        await attack.ends(PartlyDone)
    assert not attack.answers.asked


@pytest.mark.parametrize(
    "other",
    [{"size": len(SECRET) - 1}, {"mtime_ns": MTIME + 1}, {"mode": 0o600}],
    ids=["size", "time", "mode"],
)
async def test_it_guesses_the_attributes_wrong(as_sender, there, other):
    """Then the file is in the way, whatever is in it."""
    there.chmod(0o644)
    os.utime(there, ns=(MTIME, MTIME))
    attack = as_sender(resume="auto")
    entry = file(there.name.encode(), len(SECRET))._replace(**other)
    assert skipped(await offer(attack, entry)) == {0: Failure.EXISTS}
    await conclude(attack, (entry, None, Failure.EXISTS))
    await attack.ends(PartlyDone)


async def test_it_is_told_of_files_that_it_names_and_no_others(as_sender, there):
    """Under update: of the file that it lists, and not of those beside it."""
    (there.parent / "beside").write_bytes(SECRET)
    attack = as_sender(resume="auto", existing="update")
    await offer(attack, file(b"new", len(SECRET)), file(there.name.encode(), len(SECRET)))
    assert list(haves(attack)) == [1]
    attack.peer.channel.close()
    await attack.ends(PeerGone)


@pytest.mark.parametrize("existing", ["update", "overwrite"])
async def test_it_reaches_through_a_symlink(as_sender, there, tmp_path, existing):
    """A link of that name is no older copy, wherever it leads."""
    (tmp_path / "out" / "link").symlink_to(there)
    attack = as_sender(resume="auto", existing=existing)
    await offer(attack, file(b"link", len(SECRET)))
    assert haves(attack) == {}
    attack.peer.channel.close()
    await attack.ends(PeerGone)


@pytest.mark.parametrize("proven", [True, False])
async def test_it_lists_what_an_unfinished_transfer_has_placed(as_sender, earlier, proven):
    """Whole files of it are as safe as partial ones: only its own sender is told of blocks."""
    cut = await earlier(b"a")
    attack = as_sender(resume="auto")
    shown = proof(cut.keys, attack.peer.keys) if proven else None
    entry = file(b"a.done", MIN_BLOCK)
    if not proven:
        entry = entry._replace(mtime_ns=MTIME + 1)
    want = await offer(attack, entry, proof=shown)
    assert skipped(want) == ({} if proven else {0: Failure.EXISTS})
    assert haves(attack) == ({0: (block_digest(SECRET[:MIN_BLOCK]),)} if proven else {})
    attack.peer.channel.close()
    await attack.ends(PeerGone)
    assert (attack.out / "a.done").read_bytes() == SECRET[:MIN_BLOCK]
