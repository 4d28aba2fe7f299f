"""The vectors, the modules, and a second implementation made from the specification agree.

The second one is in this file: plain integers and hashlib, as ``docs/pairing-protocol.md`` tells
it, and nothing of the package or its libraries. A browser's test suite reads the same vectors.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import runpy
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pxfer.errors import IntegrityError, InvalidCode, PeerMisbehaved
from p2pxfer.pairing import code as codes
from p2pxfer.pairing import hello as hellos
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Opener, Role, Sealer, SessionKeys, resume_id, resume_proof
from p2pxfer.pairing.pake import Pake
from p2pxfer.pairing.stream import FrameOpener
from p2pxfer.pairing.wordlist import words

VECTORS = Path(__file__).parent.parent / "vectors"
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE = "5866666666666666666666666666666666666666666666666666666666666666"


def load(name: str) -> dict:
    return json.loads((VECTORS / f"pairing-{name}.json").read_text(encoding="utf-8"))


def named(name: str, key: str) -> list:
    return [pytest.param(each, id=each["name"]) for each in load(name)[key]]


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int = 32) -> bytes:
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    out, block = b"", b""
    while len(out) < size:
        block = hmac.digest(key, block + info + bytes((len(out) // 32 + 1,)), "sha256")
        out += block
    return out[:size]


def decode(data: bytes) -> tuple[int, int]:
    number = int.from_bytes(data, "little")
    y, sign = number % 2**255, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return (x if x % 2 == sign else P - x), y


def encode(point: tuple[int, int]) -> bytes:
    return (point[1] | point[0] % 2 << 255).to_bytes(32, "little")


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def times(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    for bit in f"{scalar % L:b}":
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def spake2(password: bytes, entropy: bytes, peer: bytes, side: str, constants: dict) -> list[bytes]:
    """This side's message, and its key."""
    blind = {name: decode(bytes.fromhex(constants[name])) for name in "MN"}
    own, far = (blind["M"], blind["N"]) if side == "A" else (blind["N"], blind["M"])
    w = int.from_bytes(hkdf(password, b"", b"SPAKE2 pw", 48), "big") % L
    x = int.from_bytes(entropy, "big") % L
    share = encode(add(times(x, decode(bytes.fromhex(BASE))), times(w, own)))
    shared = encode(times(x, add(decode(peer[1:]), times(-w, far))))
    x_star, y_star = (share, peer[1:]) if side == "A" else (peer[1:], share)
    identities = [hashlib.sha256(each).digest() for each in (password, b"p2pxfer A", b"p2pxfer B")]
    key = hashlib.sha256(b"".join([*identities, x_star, y_star, shared])).digest()
    return [side.encode() + share, key]


def test_the_vectors_are_what_the_modules_say():
    """A change of any byte of the protocol shows here."""
    made = runpy.run_path(str(VECTORS / "make_pairing.py"))["vectors"]()
    for name, content in made.items():
        assert content == json.loads((VECTORS / name).read_text(encoding="utf-8")), name


@pytest.mark.parametrize("letter", "MN")
def test_nobody_knows_the_logarithm_of_m_and_n(letter: str):
    """They are hashed from their names, as the specification tells."""
    seed = hkdf(letter.encode(), b"", b"SPAKE2 arbitrary element", 48)
    y = int.from_bytes(seed, "big") % P
    while True:
        square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        if pow(square, (P - 1) // 2, P) == 1:
            break
        y += 1
    x, _ = decode(y.to_bytes(32, "little"))
    point = (x, y)
    for _ in range(3):
        point = add(point, point)
    assert encode(point).hex() == load("spake2")[letter]


@pytest.mark.parametrize("run", load("spake2")["runs"], ids=["same", "different"])
def test_spake2_by_the_specification(run: dict):
    """Messages and keys, on both sides, for equal and for different passwords."""
    value = {key: bytes.fromhex(text) for key, text in run.items()}
    for side, peer in ("ab", "ba"):
        made = spake2(
            value[f"password_{side}"], value[f"entropy_{side}"], value[f"message_{peer}"],
            side.upper(), load("spake2"),
        )  # fmt: skip
        assert made == [value[f"message_{side}"], value[f"key_{side}"]]
    assert (run["key_a"] == run["key_b"]) == (run["password_a"] == run["password_b"])


@pytest.mark.parametrize("vector", named("spake2", "malformed_for_a"))
def test_a_malformed_element_is_refused(vector: dict):
    """Whatever is wrong with it."""
    with pytest.raises(PeerMisbehaved):
        Pake(Role.A, b"7-orbit-lamp").finish(bytes.fromhex(vector["message"]))


def test_the_handshake_by_the_specification():
    """Every mail, the transcript, and all that is derived from it."""
    vector = load("handshake")
    a, b = vector["a"], vector["b"]
    mail_a = [bytes.fromhex(mail) for mail in vector["mail_a"]]
    mail_b = [bytes.fromhex(mail) for mail in vector["mail_b"]]
    password, nonce = bytes.fromhex(vector["password"]), bytes.fromhex(a["nonce"])
    share_b = mail_b[1][1:34]
    share_a, key = spake2(
        password, bytes.fromhex(a["scalar_entropy"]), share_b, "A", load("spake2")
    )
    commitment = hashlib.sha256(b"p2pxfer/1 commitment" + nonce).digest()
    assert mail_a[1] == b"\x02" + share_a + commitment
    transcript = hashlib.sha256(b"p2pxfer/1 transcript")
    for part in (mail_a[0], mail_b[0], mail_a[1], share_b):
        transcript.update(len(part).to_bytes(2, "big") + part)
    first = transcript.digest()
    opened = hashlib.sha256(b"p2pxfer/1 opened transcript" + first + nonce).digest()
    confirm_a = hmac.digest(hkdf(key, first, b"p2pxfer/1 confirm A"), opened, "sha256")
    confirm_b = hmac.digest(hkdf(key, first, b"p2pxfer/1 confirm B"), first, "sha256")
    assert mail_b[1] == b"\x03" + share_b + confirm_b
    assert mail_a[2] == b"\x04" + nonce + confirm_a
    assert vector["transcript"] == opened.hex()
    secret = hkdf(key, opened, b"p2pxfer/1 secret")
    assert vector["secret"] == secret.hex()
    for each in vector["keys"]:
        sender = f" {each['sender']}" if each["sender"] else ""
        info = f"p2pxfer/1 key {each['label']}{sender}".encode()
        assert each["key"] == hkdf(secret, b"", info).hex()
    bits = f"{int.from_bytes(hkdf(secret, b'', b'p2pxfer/1 key verifier'), 'big'):0256b}"
    shown = [words()[int(bits[at : at + 11], 2)] for at in (0, 11, 22, 33)]
    assert vector["verifier_words"] == shown
    assert b["hello_nonce"] == mail_b[0][3:19].hex()


def test_later_attempts_and_proofs_are_as_specified():
    """Of a session, and of one that came before it."""
    now, old, one, two = (bytes([n]) * 32 for n in range(4))
    keys = SessionKeys(now, Role.A, bytes(32), Hello(), 1)
    assert keys.attempt(one, two).secret == hkdf(now, one + two, b"p2pxfer/1 attempt")
    assert resume_id(old) == hkdf(old, b"", b"p2pxfer/1 resume id")[:16]
    challenge = hkdf(now, b"", b"p2pxfer/1 key proof A")
    assert keys.key("proof", Role.A) == challenge
    proving = hkdf(old, b"", b"p2pxfer/1 resume proof")
    assert resume_proof(old, challenge) == hmac.digest(proving, challenge, "sha256")


@pytest.mark.parametrize("vector", load("hello")["good"])
def test_a_hello_reads_and_writes(vector: dict):
    """Both ways, to the byte."""
    data = bytes.fromhex(vector["bytes"])
    said = Hello(vector["version"], frozenset(vector["capabilities"]), vector["agent"])
    assert hellos.decode(data) == (said, Role(vector["role"]))
    assert hellos.encode(said, Role(vector["role"]), bytes.fromhex(vector["nonce"])) == data


def test_a_hello_of_a_later_version_may_say_more():
    """What this version does not know is left alone."""
    vector = load("hello")["later_version"]
    said, _ = hellos.decode(bytes.fromhex(vector["bytes"]))
    assert (said.version, said.agent) == (vector["version"], vector["agent"])


@pytest.mark.parametrize("vector", named("hello", "malformed"))
def test_a_malformed_hello_is_refused(vector: dict):
    """Whatever is wrong with it."""
    with pytest.raises(PeerMisbehaved):
        hellos.decode(bytes.fromhex(vector["bytes"]))


def test_sealed_messages_are_these_bytes():
    """And open again."""
    vector = load("sealing")
    key, sender = bytes.fromhex(vector["key"]), Role(vector["sender"])
    sealer, opener = Sealer(key, sender), Opener(key, sender)
    for message in vector["messages"]:
        plain, sealed = (bytes.fromhex(message[each]) for each in ("plain", "sealed"))
        assert sealer.seal(plain) == sealed
        assert opener.open(sealed) == plain


@pytest.mark.parametrize("vector", named("sealing", "last_is_refused"))
def test_handled_sealed_mail_is_refused(vector: dict):
    """The last of each; what comes before it opens, but for one that shows a lasting failure."""
    of = load("sealing")
    opener = Opener(bytes.fromhex(of["key"]), Role(of["sender"]))
    *before, last = (bytes.fromhex(sealed) for sealed in vector["sealed"])
    good = {message["sealed"] for message in of["messages"]}
    for sealed in before:
        if sealed.hex() in good:
            opener.open(sealed)
        else:
            with pytest.raises(IntegrityError):
                opener.open(sealed)
    with pytest.raises(IntegrityError):
        opener.open(last)


def test_codes_read_as_listed():
    """Good ones to their canonical form, bad ones not at all."""
    vector = load("codes")
    for each in vector["parse"]:
        assert str(codes.parse(each["text"])) == each["code"]
    for text in vector["refused"]:
        with pytest.raises(InvalidCode):
            codes.parse(text)
    for each in vector["complete"]:
        assert codes.complete(each["prefix"]) == each["completions"]


def test_chosen_codes_read_as_listed():
    """With the slow hash as Python's own library has it."""
    vector = load("chosen-codes")
    for each in vector["accepted"]:
        assert codes.chosen(each["text"]).canonical == each["canonical"]
        stretched = hashlib.scrypt(
            each["canonical"].encode(), salt=b"p2pxfer/1 chosen code",
            n=2**15, r=8, p=1, dklen=32, maxmem=64 * 1024 * 1024,
        )  # fmt: skip
        assert each["room_name"] == hkdf(stretched, b"", b"p2pxfer/1 room").hex()
        assert each["password"] == hkdf(stretched, b"", b"p2pxfer/1 password").hex()
    for text in vector["refused"]:
        with pytest.raises(InvalidCode):
            codes.chosen(text)


def test_a_relayed_stream_is_these_bytes():
    """Its name, its keys, its frames: by the specification, and by the modules."""
    vector = load("relay")
    secret, one, two = (bytes.fromhex(vector[each]) for each in ("secret", "nonce_a", "nonce_b"))
    fresh = hkdf(secret, one + two, b"p2pxfer/1 relayed")
    keys = SessionKeys(secret, Role.B, bytes(32), Hello(), 1).relayed(one, two)
    assert vector["name"] == hkdf(fresh, b"", b"p2pxfer/1 key circuit").hex()
    assert vector["name"] == keys.key("circuit").hex()
    assert vector["key"] == hkdf(fresh, b"", b"p2pxfer/1 key relay A").hex()
    messages = [bytes.fromhex(each["byte"]) * each["size"] for each in vector["messages"]]
    plain = [b"\1"]
    for message in messages:
        parts = [message[at : at + 65_519] for at in range(0, len(message), 65_519)]
        plain += [b"\0" + part for part in parts[:-1]] + [b"\1" + parts[-1]]
    opener, opened = FrameOpener(keys.opener("relay"), 1 << 20), []
    for number, (part, frame) in enumerate(zip(plain, vector["frames"], strict=True)):
        nonce = number.to_bytes(12, "big")
        cipher = AESGCM(bytes.fromhex(vector["key"]))
        sealed = cipher.encrypt(nonce, part, b"p2pxfer/1 sealed A" + nonce)
        assert frame == {"size": len(sealed), "sha256": hashlib.sha256(sealed).hexdigest()}
        if (message := opener.open(sealed)) is not None:
            opened.append(message)
    assert opened == messages
