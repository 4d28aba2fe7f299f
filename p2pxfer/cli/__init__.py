"""The command line: parse, call a session, map the error to an exit code."""
