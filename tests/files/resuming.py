"""A receiving session in miniature: delivers a tree, going on with what is there already."""

from __future__ import annotations

import os
import stat
from itertools import islice

from p2pxfer.files.basis import Basis
from p2pxfer.files.hashing import block_digest, file_root
from p2pxfer.files.records import Header
from p2pxfer.files.writer import SmallFile
from p2pxfer.manifest import MIN_BLOCK, Entry, EntryKind, block_size

MTIME = 1_234_567_890_123_456_789


def header(output, code=b"code", resume_id=b"r" * 16):
    """A journal's header."""
    return Header(
        resume_id=resume_id,
        secret=b"s" * 32,
        code=code,
        rendezvous="https://example.org",
        output=os.fsencode(output),
        label=b"label",
        created=1_700_000_000,
    )


def entry(path, content):
    """The entry for what `deliver` takes: bytes, a str for a symlink, None for a directory."""
    if content is None:
        return Entry(EntryKind.DIRECTORY, path, 0, 0o555, MTIME)
    if isinstance(content, str):
        return Entry(EntryKind.SYMLINK, path, 0, 0o777, MTIME, content.encode())
    return Entry(EntryKind.FILE, path, len(content), 0o444, MTIME)


def blocks(content):
    """Offset, bytes and digest of each block."""
    step = block_size(len(content))
    for offset in range(0, len(content), step):
        data = content[offset : offset + step]
        yield offset, data, block_digest(data)


def digests(basis, size):
    """What a receiver would offer of ``basis``, asked for in slices."""
    if basis is None:
        return []
    found = basis.digests(block_size(size), size)
    offered = []
    while some := list(islice(found, 3)):
        offered += some
    return offered


def deliver(tree, files):
    """Bring ``files`` (path -> content, in order) into ``tree``.

    Returns:
        How many bytes travelled, and path -> failure of what was not taken.
    """
    travelled, failed, small = 0, {}, []
    for path, content in files.items():
        admission = tree.admit(entry(path, content))
        if admission.failure is not None:
            failed[path] = admission.failure
        elif isinstance(content, str):
            tree.make_symlink(admission)
        elif content is not None and len(content) > MIN_BLOCK:
            travelled += write_large(tree, admission, content)
        elif content is not None:
            basis = tree.older(admission)
            held = digests(basis, len(content)) == [digest for _, _, digest in blocks(content)]
            if basis is not None:
                basis.close()
            root = file_root((digest for _, _, digest in blocks(content)), len(content))
            if not (held and tree.keep(admission, root, len(content), 0o444, MTIME)):
                travelled += len(content)
                small.append(SmallFile(admission, content, 0o444, MTIME))
    for item, error in zip(
        small, tree.name_small(tree.sync_small(tree.write_small(small))), strict=True
    ):
        if error is not None:
            failed[item.admission.entry.path] = error.failure
    tree.finish()
    return travelled, failed


def write_large(tree, admission, content):
    """Write one file block by block, from its bases where they hold a block."""
    size, travelled = len(content), 0
    partial = tree.adopt(admission, size)
    bases = [Basis.of(partial)] if partial is not None else []
    older = tree.older(admission)
    if older is not None:
        bases.append(older)
    held = [digests(basis, size) for basis in bases]
    partial = partial or tree.open_file(admission, size)
    for number, (offset, data, digest) in enumerate(blocks(content)):
        for basis, offered in zip(bases, held, strict=True):
            if offered[number : number + 1] == [digest]:
                basis.copy_to(partial, offset, len(data), digest)
                break
        else:
            if not data.strip(b"\0"):
                partial.hole(offset, len(data))
            else:
                travelled += len(data)
                partial.write_at(offset, [data])
    for basis in bases:
        basis.close()
    partial.commit(0o444, MTIME)
    return travelled


def arrived(root):
    """What is below ``root``, as `deliver` takes it; a temporary, too."""
    found = {}
    for folder, folders, names in os.walk(os.fsencode(root)):
        for name in sorted(folders + names):
            path = os.path.join(folder, name)
            inner = os.path.relpath(path, os.fsencode(root))
            if os.path.islink(path):
                found[inner] = os.fsdecode(os.readlink(path))
            elif os.path.isdir(path):
                found[inner] = None
            else:
                with open(path, "rb") as file:
                    found[inner] = file.read()
    return found


def attributes(root, path):
    """Permissions and mtime."""
    found = os.lstat(os.path.join(os.fsencode(root), path))
    return stat.S_IMODE(found.st_mode), found.st_mtime_ns
