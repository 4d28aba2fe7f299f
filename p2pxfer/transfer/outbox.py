"""Outbox: packs frames into channel messages, so that many small ones share one.

Holds what was added since the last full message and nothing else; never sends. Frames keep their
order. Payload is copied once, when its message is joined, or before `add_block` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pxfer.transfer.frames import (
    DATA_TYPE,
    WHOLE_FILE_SIZE,
    WHOLE_SIZE,
    WHOLE_TYPE,
    encode,
    header,
    whole_head,
)
from p2pxfer.transfer.messages import (
    HEADER_SIZE,
    MAX_MESSAGE,
    MIN_MESSAGE,
    MIN_PIECE,
    Block,
    Message,
    WholeFile,
)


class Outbox:
    """Takes frames, gives full messages of at most ``max_message`` bytes.

    Attributes:
        limit: bytes in a message.

    Raises:
        ValueError: ``max_message`` is under what every channel must carry.
    """

    __slots__ = ("_parts", "_size", "limit")

    def __init__(self, max_message: int) -> None:
        if max_message < MIN_MESSAGE:
            raise ValueError(f"a channel must carry messages of {MIN_MESSAGE} bytes")
        self.limit = min(max_message, MAX_MESSAGE)
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    def __len__(self) -> int:
        """Bytes that wait for the next `flush`."""
        return self._size

    def add(self, message: Message) -> list[bytes]:
        """Add one frame; returns the messages that became full, usually none.

        Raises:
            ValueError: the frame alone is over ``max_message``.
        """
        frame = encode(message)
        size = len(frame)
        if size > self.limit:
            raise ValueError(f"a frame of {size} bytes does not fit this channel")
        full = self.flush() if self._size + size > self.limit else []
        self._parts.append(frame)
        self._size += size
        return full

    def add_block(self, block: Block, payload: bytes | memoryview) -> list[bytes]:
        """Add a block's header, and its payload cut to fill messages, if any follows it.

        A view may be written over afterwards: nothing of it is kept.
        """
        full = self.add(block)
        view = memoryview(payload)
        at, end = 0, len(view) if block.payload else 0
        while at < end:
            room = self.limit - self._size - HEADER_SIZE
            if room < min(MIN_PIECE, end - at):
                full += self.flush()
                continue
            piece = view[at : at + room]
            at += len(piece)
            self._parts.append(header(DATA_TYPE, len(piece)))
            self._parts.append(piece)
            self._size += HEADER_SIZE + len(piece)
        if end and self._parts and isinstance(payload, memoryview):
            self._parts[-1] = bytes(self._parts[-1])
        return full

    def add_whole(self, files: Sequence[WholeFile], contents: Sequence[bytes]) -> list[bytes]:
        """Add small files with their contents as one frame: see `fits_whole`."""
        head = whole_head(files)
        length = len(head) + sum(map(len, contents))
        full = self.flush() if self._size + HEADER_SIZE + length > self.limit else []
        self._parts += (header(WHOLE_TYPE, length), head, *contents)
        self._size += HEADER_SIZE + length
        return full

    def fits_whole(self, sizes: Iterable[int]) -> int:
        """How many small files of these sizes fit into one frame; no more sizes are looked at."""
        room, count = self.limit - HEADER_SIZE - WHOLE_SIZE, 0
        for size in sizes:
            room -= WHOLE_FILE_SIZE + size
            if room < 0:
                break
            count += 1
        return count

    def flush(self) -> list[bytes]:
        """What is waiting, as one message; nothing if nothing is."""
        if not self._parts:
            return []
        message = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return [message]
