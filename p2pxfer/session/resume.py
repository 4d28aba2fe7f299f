"""Resuming: what a later run must know and prove to go on where an earlier one stopped.

A sender remembers the secrets of sends that were not finished, and proves one of them to a receiver
that it meets again under any code. A receiver keeps a journal, and takes up what the journal of a
proven transfer tells of. Whatever is found on the disk is hashed again before it counts; that, and
what the journals hold, is the files room's business.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from p2pxfer.errors import LocalFileError
from p2pxfer.files.journal import EXPIRY, Journal, Journals, JournalView
from p2pxfer.files.keyring import Keyring, sources_digest
from p2pxfer.files.records import Header
from p2pxfer.files.state import state_path
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Role, SessionKeys, resume_id, resume_proof
from p2pxfer.transfer.messages import MAX_PROOFS

if TYPE_CHECKING:
    from p2pxfer.pairing.code import ChosenCode, Code

PROOF: Final = "proof"  # label of the key that proofs of earlier transfers are made over
CODE_CONTEXT: Final = b"p2pxfer/1 code\0"

Resume = Literal["auto", "any", "never"]
Proofs = Sequence[tuple[bytes, bytes]]


class SenderMemory:
    """The secrets of sends of the same things that were not finished.

    Args:
        paths: what is sent.
    """

    def __init__(self, paths: Sequence[str | bytes | os.PathLike[str]]) -> None:
        self._keyring = Keyring(state_path("sending"))
        self._sources = sources_digest(paths)
        self._earlier: list[bytes] = []
        self._secret = b""

    def begin(self, keys: SessionKeys) -> list[tuple[bytes, bytes]]:
        """Remember this session, which begins; returns proofs of it and of earlier ones."""
        now = time.time()
        self._earlier = self._keyring.recall(self._sources, now)
        self._secret = keys.secret
        try:
            self._keyring.remember(self._sources, keys.secret, now)
        except LocalFileError:  # it could not be resumed, which is no reason not to send
            self._secret = b""
        challenge = keys.key(PROOF, Role.A)
        secrets = [keys.secret, *self._earlier][:MAX_PROOFS]
        return [(resume_id(secret), resume_proof(secret, challenge)) for secret in secrets]

    def finish(self) -> None:
        """It is all there: nothing is to be resumed."""
        for secret in (self._secret, *self._earlier):
            if secret:
                self._keyring.forget(secret)


class ReceiverMemory:
    """The journals of this user's receiving transfers.

    Args:
        code: under which the sender is found this time.
        resume: ``auto`` continues what the sender proves to have begun, ``any`` also what was
            begun into the same directory by whoever, ``never`` nothing, and
            leaves nothing to go on with.
    """

    def __init__(self, code: Code | ChosenCode, resume: Resume) -> None:
        self._journals = Journals(state_path("transfers"))
        self._code = sha256(CODE_CONTEXT + code.password()).digest()
        self._resume = resume

    def interrupted(self) -> tuple[SessionKeys, str] | None:
        """A session under the same code whose sender may still wait for this machine.

        Returns:
            Its keys, and where the two sides met.
        """
        if self._resume == "never":
            return None
        oldest = time.time() - EXPIRY
        for view in self._journals.find(code=self._code):
            waits = not view.live and not view.over and view.modified >= oldest
            if waits and view.header.rendezvous:
                secret = view.header.secret
                keys = SessionKeys(secret, Role.B, resume_id(secret), Hello(), Hello().version)
                return keys, view.header.rendezvous
        return None

    def forget(self, keys: SessionKeys) -> None:
        """This session can't be gone on with: remove what earlier runs of it have left."""
        for view in self._journals.find(resume_ids=[resume_id(keys.secret)]):
            self._journals.remove(view)

    def begin(
        self, keys: SessionKeys, *, rendezvous: str, output: Path, label: bytes, proofs: Proofs
    ) -> Journal | None:
        """Begin this transfer's journal, which takes over from those that it continues.

        Args:
            keys: of this session.
            rendezvous: where it came about.
            output: the directory that it goes into.
            label: of the offer.
            proofs: what the sender offers to prove.

        Returns:
            None where none can be kept: then nothing can be resumed.
        """
        self._journals.expire(time.time())
        if self._resume == "never":
            return None
        directory = _real(output)
        header = Header(
            resume_id=resume_id(keys.secret),
            secret=keys.secret,
            code=self._code,
            rendezvous=rendezvous,
            output=directory,
            label=label,
            created=int(time.time()),
        )
        try:
            return self._journals.create(header, self._continued(keys, directory, proofs))
        except LocalFileError:
            return None

    def continues(self, keys: SessionKeys, *, output: Path, proofs: Proofs) -> bool:
        """Whether `begin` would find something to go on with."""
        return bool(self._continued(keys, _real(output), proofs))

    def _continued(self, keys: SessionKeys, directory: bytes, proofs: Proofs) -> list[JournalView]:
        if self._resume == "never":
            return []
        challenge = keys.key(PROOF, Role.A)
        given = dict(proofs)
        proven = [
            view
            for view in self._journals.find(resume_ids=given.keys())
            if hmac.compare_digest(
                given.get(view.header.resume_id, b""), resume_proof(view.header.secret, challenge)
            )
        ]
        if self._resume == "any":
            known = {view.name for view in proven}
            proven += [v for v in self._journals.find(output=directory) if v.name not in known]
        return proven


class SessionMemory:
    """What a receiver remembers of one session; see `ReceiverMemory`.

    Args:
        memory: of all sessions.
        keys: of this one.
        rendezvous: where it came about.
    """

    def __init__(self, memory: ReceiverMemory, keys: SessionKeys, rendezvous: str) -> None:
        self._memory = memory
        self._keys = keys
        self._rendezvous = rendezvous

    def begin(self, output: Path, label: bytes, proofs: Proofs) -> Journal | None:
        """Begin the transfer's journal, or None where none can be kept."""
        return self._memory.begin(
            self._keys, rendezvous=self._rendezvous, output=output, label=label, proofs=proofs
        )

    def continues(self, output: Path, proofs: Proofs) -> bool:
        """Whether there is something of earlier runs to go on with."""
        return self._memory.continues(self._keys, output=output, proofs=proofs)


def _real(output: Path) -> bytes:
    return os.path.realpath(os.fsencode(output))
