"""The only rooms that touch the disk for user data. They know nothing of any protocol."""
