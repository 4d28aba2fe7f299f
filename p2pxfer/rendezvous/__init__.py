"""Sealed mail between two sides that meet in a room: messages, client, server. No keys."""
