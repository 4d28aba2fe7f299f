"""DTLS application data in batches, against OpenSSL's own public calls at the other end."""

from __future__ import annotations

import contextlib

import pytest
from aiortc import RTCCertificate
from OpenSSL import SSL

from p2pxfer.peer import records
from p2pxfer.peer.records import Records

SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": 37,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 29,
    "ECDHE-ECDSA-AES128-SHA": 65,
}


def make(server: bool, suite: str) -> SSL.Connection:
    certificate = RTCCertificate.generateCertificate()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    context.set_cipher_list(suite.encode())
    context.use_certificate(certificate._cert)
    context.use_privatekey(certificate._key)
    end = SSL.Connection(context)
    (end.set_accept_state if server else end.set_connect_state)()
    return end


def said(end: SSL.Connection) -> bytes:
    data = b""
    with contextlib.suppress(SSL.WantReadError):
        while True:
            data += end.bio_read(70_000)
    return data


def shaken(suite: str) -> tuple[SSL.Connection, SSL.Connection]:
    client, server = make(False, suite), make(True, suite)
    for _ in range(4):
        for end, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            if flight := said(end):
                other.bio_write(flight)
    assert client.get_cipher_name() == suite
    return client, server


@pytest.fixture(params=SUITES)
def ends(request) -> tuple[SSL.Connection, SSL.Connection]:
    """Two connections whose handshake is done."""
    return shaken(request.param)


def forge(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


def datagrams(joined: memoryview) -> list[bytes]:
    return [bytes(record) for record in records.split(joined)]


def test_a_flight_crosses(ends):
    """Packets of one size, the last shorter, in order; the records stand end to end."""
    near, far = Records(ends[0]), Records(ends[1])
    packets = [bytes([number]) * 1172 for number in range(40)] + [b"last"]
    joined = near.encrypt(packets)
    segment = records.segment_size(joined, len(packets))
    assert 1172 < segment <= 1172 + near.overhead
    cut = [bytes(joined[at : at + segment]) for at in range(0, len(joined), segment)]
    assert cut == datagrams(joined)
    assert far.decrypt(cut) == packets


def test_more_than_a_flight_comes_out_whole(ends):
    """Nothing of it is left to stand before the next."""
    near, far = Records(ends[0]), Records(ends[1])
    packets = [bytes([number]) * records.LONGEST_PLAIN for number in range(11)]
    assert far.decrypt(datagrams(near.encrypt(packets))) == packets
    assert far.decrypt(datagrams(near.encrypt([b"next"]))) == [b"next"]


@pytest.mark.parametrize("sizes", [(100, 200), (200, 100, 200), (100, 100, 1)])
def test_packets_of_other_sizes_are_told(ends, sizes):
    """A batch of datagrams needs one size: where that isn't so, it is seen."""
    near, far = Records(ends[0]), Records(ends[1])
    packets = [bytes(size) for size in sizes]
    joined = near.encrypt(packets)
    assert bool(records.segment_size(joined, len(packets))) == (sizes == (100, 100, 1))
    assert far.decrypt(datagrams(joined)) == packets


def test_both_ways_with_the_public_calls(ends):
    """Whoever reads and writes one record at a time is understood, and understands."""
    near, far = Records(ends[0]), ends[1]
    for record in datagrams(near.encrypt([b"one", b"two"])):
        far.bio_write(record)
        assert far.recv(1500) in (b"one", b"two")
    far.send(b"three")
    assert near.decrypt([said(far)]) == [b"three"]


def test_what_is_forged_repeated_or_mangled_is_left_out(ends):
    """And harms nothing that is sound, before or after."""
    near, far = Records(ends[0]), Records(ends[1])
    packets = [bytes([number]) * 50 for number in range(8)]
    sound = datagrams(near.encrypt(packets))
    forged = forge(sound[1]) if "GCM" in ends[0].get_cipher_name() else b"\x17"
    cut, long = sound[2][:20], sound[3] + b"rest"
    mixed = [sound[0], sound[0], forged, sound[1], cut, sound[2], b"\x17", long, *sound[4:]]
    assert far.decrypt(mixed) == packets
    assert not far.ended


def test_several_records_in_one_datagram(ends):
    """RFC 6347 section 4.1.1 allows it, and the end may come with the last data."""
    near, far = ends[0], Records(ends[1])
    for word in (b"one", b"two"):
        near.send(word)
    both = said(near)
    near.send(b"three")
    near.shutdown()
    assert far.decrypt([both]) == [b"one", b"two"]
    assert not far.ended
    assert far.decrypt([said(near)]) == [b"three"]
    assert far.ended


def test_the_longest_record(ends):
    """As long as DTLS has them."""
    near, far = Records(ends[0]), Records(ends[1])
    packets = [bytes(records.LONGEST_PLAIN)] * 3
    assert far.decrypt(datagrams(near.encrypt(packets))) == packets


def test_nothing_is_encrypted_after_the_end(ends):
    """Not even an error comes of it."""
    near = Records(ends[0])
    ends[0].shutdown()
    near.pending()
    assert not near.encrypt([b"late"])


def test_what_openssl_ends_is_known_to_be_over():
    """It takes a forged record of an old suite for the end, and nothing more is to come."""
    client, server = shaken("ECDHE-ECDSA-AES128-SHA")
    near, far = Records(client), Records(server)
    sound = datagrams(near.encrypt([b"one", b"two"]))
    assert far.decrypt([sound[0], forge(sound[1])]) == [b"one"]
    assert far.ended


@pytest.mark.parametrize("missing", ["SSL_read", *records._HANDLES])
def test_other_handles_are_noticed(ends, monkeypatch, missing):
    """A later library is left alone."""
    assert records.usable(ends[0])
    if missing in records._HANDLES:
        monkeypatch.delattr(ends[0], missing)
    else:
        monkeypatch.setattr(records, "_NAMES", ("no_such_name",))
    assert not records.usable(ends[0])
    assert records.available() == (missing in records._HANDLES)
