"""The rendezvous itself. It never sees words, keys, SDP or names."""
