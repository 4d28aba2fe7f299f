"""SCTP over DTLS (RFC 9260, 8261, 8831, 8832): bytes in, bytes out, ``now`` passed in."""
