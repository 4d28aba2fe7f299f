"""Strangers become keyed peers: codes, SPAKE2, key confirmation. No network, no clock."""
