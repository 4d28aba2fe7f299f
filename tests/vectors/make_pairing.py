#!/usr/bin/env python3
"""Write the pairing vectors anew: for when docs/pairing-protocol.md changes, never to mend a test.

All bytes are in hexadecimal. What is random in a real run is given as drawn here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pxfer.pairing import code as codes
from p2pxfer.pairing import hello as hellos
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Role, Sealer, SessionKeys
from p2pxfer.pairing.pake import Pake
from p2pxfer.pairing.stream import MAX_PART, FrameSealer

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
CODE = "7-orbit-lamp"
SIX = "orbit lamp zoo Abandon, crisp.gravity"


def drawn(name: str) -> tuple[Callable[[int], bytes], list[str]]:
    """An entropy source that gives the same bytes each time, and what it has given."""
    given: list[str] = []

    def entropy(size: int) -> bytes:
        draw = hashlib.shake_256(f"{name} {len(given)}".encode()).digest(size)
        given.append(draw.hex())
        return draw

    return entropy, given


def code_vectors() -> dict[str, Any]:
    good = [
        CODE,
        "7 ORBIT lamp",
        "07_orbi.LAMP",
        "7,orbit,lamp",
        "7 \u2013 Orbit \u2014 lamp",
        "412-act-action",
    ]
    bad = [
        "", "orbit-lamp", "7", "7-orbit", "0-orbit-lamp", "7-orb-lamp", "7-orbitt-lamp",
        "1234567890-orbit-lamp", "7-orbit-lamp-x", "-7", "7-" + "-".join(["zoo"] * 17),
    ]  # fmt: skip
    ends = ["7-or", "7-orbit-lam", "7", "7-orbit", "7 OR", "or", "7-xyz", "7-xyz-or"]
    return {
        "parse": [{"text": text, "code": str(codes.parse(text))} for text in good],
        "refused": bad,
        "complete": [{"prefix": end, "completions": codes.complete(end)} for end in ends],
    }


def chosen_vectors() -> dict[str, Any]:
    good = [
        SIX, "orbi lamp zoo aban cris grav", "  orbit-lamp-zoo-abandon-crisp-gravity\n",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "\ufb01-Qx7!vR2_kW9$mT4@zL6&nB3^pJ8*dH5", "\u00c9x7\u03a9q2\u0416k9\u03bbw4Tz8!Rb6?Yc5",
        "E\u0301x7\u2126q2\u0416k9\u03bbw4Tz8!Rb6?Yc5",
    ]  # fmt: skip
    bad = [
        "", "hunter2", "orbit-lamp-zoo-abandon-crisp", "zoo zoo zoo zoo zoo zoo zoo",
        "abandon ability able about above absent absorb", "correct horse battery staple",
        "7-orbit-lamp-zoo-abandon-crisp-gravity", "orbit lamp zoo abandn crisp gravity",
        "the quick brown fox jumps over the lazy dog", "qwertyuiopasdfghjklzxcvbnm1234567890",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "a b c d e f g h i j k l m n o p q r s t u v",
        "9f86d081884c7d65\n9a2feaa0c55ad015a3bf4f1b", "x" * 1025,
    ]  # fmt: skip
    accepted = []
    for text in good:
        chosen = codes.chosen(text)
        accepted.append(
            {
                "text": text,
                "canonical": chosen.canonical,
                "bits": round(chosen.bits, 2),
                "room_name": chosen.room_name().hex(),
                "password": chosen.password().hex(),
            }
        )
    return {"accepted": accepted, "refused": bad}


def element(y: int, sign: int = 0) -> str:
    return (y | sign << 255).to_bytes(32, "little").hex()


def spake2_vectors() -> dict[str, Any]:
    runs = []
    for number, (password_a, password_b) in enumerate([(CODE, CODE), (CODE, "7-orbit-lamb")]):
        a, drawn_a = drawn(f"spake2 {number} A")
        b, drawn_b = drawn(f"spake2 {number} B")
        side_a, side_b = Pake(Role.A, password_a.encode(), a), Pake(Role.B, password_b.encode(), b)
        runs.append(
            {
                "password_a": password_a.encode().hex(),
                "password_b": password_b.encode().hex(),
                "entropy_a": drawn_a[0],
                "entropy_b": drawn_b[0],
                "message_a": side_a.message.hex(),
                "message_b": side_b.message.hex(),
                "key_a": side_a.finish(side_b.message).hex(),
                "key_b": side_b.finish(side_a.message).hex(),
            }
        )
    good = runs[0]["message_b"]
    order_8 = int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7", 16)
    malformed = {
        "empty": "",
        "one byte short": good[:-2],
        "one byte long": good + "00",
        "one's own side": "41" + good[2:],
        "the symmetric side": "53" + good[2:],
        "no side": "00" + good[2:],
        "the identity": "42" + element(1),
        "the identity, with a sign": "42" + element(1, 1),
        "the identity, y not reduced": "42" + element(P + 1),
        "the identity, y not reduced, with a sign": "42" + element(P + 1, 1),
        "order 2": "42" + element(P - 1),
        "order 2, with a sign": "42" + element(P - 1, 1),
        "order 4": "42" + element(0),
        "order 4, the other": "42" + element(0, 1),
        "order 4, y not reduced": "42" + element(P),
        "order 8": "42" + element(order_8),
        "order 8, negative": "42" + element(order_8, 1),
        "order 8 times the prime order": "42" + element(9),
        "not on the curve": "42" + element(2),
        "not on the curve, y not reduced": "42" + element(P + 2),
        "all ones": "42" + "ff" * 32,
    }
    return {
        "M": "15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312",
        "N": "f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3",
        "runs": runs,
        "malformed_for_a": [{"name": name, "message": text} for name, text in malformed.items()],
    }


def hello_vectors() -> dict[str, Any]:
    nonce = bytes(range(16))
    good = [
        (Hello(), Role.A),
        (Hello(1, frozenset({"verify", "a.b-2"}), "p2pxfer/0.1.0"), Role.B),
        (Hello(255, frozenset(f"{each:032d}" for each in range(16)), "~" * 64), Role.A),
    ]
    plain = hellos.encode(Hello(1, frozenset({"ab", "cd"}), "x"), Role.A, nonce)
    head = plain[:18]
    later = b"\x02" + plain[1:]
    malformed = {
        "empty": b"",
        "cut in the nonce": plain[:10],
        "cut in a capability": plain[:21],
        "cut before the agent": plain[:-2],
        "cut in the agent": plain[:-1],
        "a byte too many": plain + b"\0",
        "version 0": b"\0" + plain[1:],
        "an unknown role": plain[:1] + b"S" + plain[2:],
        "capabilities out of order": head + b"\x02\x02cd\x02ab\x01x",
        "a capability twice": head + b"\x02\x02ab\x02ab\x01x",
        "an empty capability": head + b"\x01\x00\x01x",
        "a capability of 33 bytes": head + b"\x01\x21" + b"a" * 33 + b"\x01x",
        "a capability in capitals": head + b"\x01\x01A\x01x",
        "17 capabilities": head
        + b"\x11"
        + b"".join(b"\x01%c" % (97 + n) for n in range(17))
        + b"\x00",
        "an agent of 65 bytes": head + b"\x00\x41" + b"x" * 65,
        "an escape in the agent": head + b"\x00\x01\x1b",
        "an agent that is not ASCII": head + b"\x00\x02\xc3\xa9",
    }
    return {
        "good": [
            {
                "version": hello.version,
                "role": role.value,
                "nonce": nonce.hex(),
                "capabilities": sorted(hello.capabilities),
                "agent": hello.agent,
                "bytes": hellos.encode(hello, role, nonce).hex(),
            }
            for hello, role in good
        ],
        "later_version": {"bytes": (later + b"more").hex(), "version": 2, "agent": "x"},
        "malformed": [{"name": name, "bytes": data.hex()} for name, data in malformed.items()],
    }


def handshake_vectors() -> dict[str, Any]:
    hello_a = Hello(1, frozenset({"verify"}), "p2pxfer/0.1.0")
    hello_b = Hello(2, frozenset(), "browser/1")
    entropy_a, drawn_a = drawn("handshake A")
    entropy_b, drawn_b = drawn("handshake B")
    a = Handshake(Role.A, CODE.encode(), hello_a, entropy=entropy_a)
    b = Handshake(Role.B, CODE.encode(), hello_b, entropy=entropy_b)
    from_a, from_b = a.start(), b.start()
    for mail in from_a:
        from_b += b.receive(mail)
    for mail in from_b:
        from_a += a.receive(mail)
    b.receive(from_a[-1])
    keys = a.keys
    assert keys is not None
    return {
        "password": CODE.encode().hex(),
        "a": {
            "hello_nonce": drawn_a[0],
            "nonce": drawn_a[1],
            "scalar_entropy": drawn_a[2],
            "version": 1,
            "capabilities": ["verify"],
            "agent": hello_a.agent,
        },
        "b": {
            "hello_nonce": drawn_b[0],
            "scalar_entropy": drawn_b[1],
            "version": 2,
            "capabilities": [],
            "agent": hello_b.agent,
        },
        "mail_a": [mail.hex() for mail in from_a],
        "mail_b": [mail.hex() for mail in from_b],
        "transcript": keys.transcript.hex(),
        "secret": keys.secret.hex(),
        "version": keys.version,
        "keys": [
            {
                "label": label,
                "sender": sender.value if sender else None,
                "key": keys.key(label, sender).hex(),
            }
            for label in ("rejoin", "signals", "receipt")
            for sender in (None, Role.A, Role.B)
        ],
        "verifier_words": list(keys.verifier_words()),
    }


def sealing_vectors() -> dict[str, Any]:
    key = bytes(range(32))
    sealer = Sealer(key, Role.A)
    plain = [b"first", b"", b"third" * 100]
    sealed = [sealer.seal(each) for each in plain]
    changed = bytes((sealed[0][0] ^ 1,)) + sealed[0][1:]
    attacks = {
        "changed": [changed],
        "cut": [sealed[0][:-1]],
        "shorter than a tag": [sealed[1][:15]],
        "empty": [b""],
        "longer": [sealed[0] + b"\0"],
        "replayed": [sealed[0], sealed[0]],
        "out of order": [sealed[1]],
        "one left out": [sealed[0], sealed[2]],
        "reflected": [Sealer(key, Role.B).seal(b"first")],
        "nothing after a failure": [changed, sealed[0]],
    }
    return {
        "key": key.hex(),
        "sender": "A",
        "messages": [
            {"plain": before.hex(), "sealed": after.hex()}
            for before, after in zip(plain, sealed, strict=True)
        ],
        "last_is_refused": [
            {"name": name, "sealed": [each.hex() for each in mail]}
            for name, mail in attacks.items()
        ],
    }


def relay_vectors() -> dict[str, Any]:
    secret, nonce_a, nonce_b = (bytes([each]) * 32 for each in (1, 2, 3))
    keys = SessionKeys(secret, Role.A, bytes(32), Hello(), 1).relayed(nonce_a, nonce_b)
    messages = [b"a" * 5, b"x" * (MAX_PART + 1)]
    sealer = FrameSealer(keys.sealer("relay"))
    frames = [sealer.greeting()]
    for message in messages:
        frames += sealer.seal(message)
    return {
        "secret": secret.hex(),
        "nonce_a": nonce_a.hex(),
        "nonce_b": nonce_b.hex(),
        "name": keys.key("circuit").hex(),
        "sender": "A",
        "key": keys.key("relay", Role.A).hex(),
        "messages": [{"byte": each[:1].hex(), "size": len(each)} for each in messages],
        "frames": [
            {"size": len(each), "sha256": hashlib.sha256(each).hexdigest()} for each in frames
        ],
    }


def vectors() -> dict[str, dict[str, Any]]:
    """Content of each file by name."""
    return {
        "pairing-codes.json": code_vectors(),
        "pairing-chosen-codes.json": chosen_vectors(),
        "pairing-spake2.json": spake2_vectors(),
        "pairing-hello.json": hello_vectors(),
        "pairing-handshake.json": handshake_vectors(),
        "pairing-sealing.json": sealing_vectors(),
        "pairing-relay.json": relay_vectors(),
    }


if __name__ == "__main__":
    for name, content in vectors().items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
