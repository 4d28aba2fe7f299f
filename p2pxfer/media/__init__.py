"""Pictures and sound: where they come from, and what becomes of them. No network, no protocol."""
