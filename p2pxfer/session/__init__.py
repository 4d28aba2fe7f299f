"""The only rooms that know both the cores and I/O. No terminal."""
