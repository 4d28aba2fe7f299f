"""Configuration of this machine. No network."""
