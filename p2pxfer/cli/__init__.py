"""The command line: parse, call a session, map the error to an exit code."""

import gc

# Loading modules makes many objects and no garbage: with the usual thresholds a sixth of the time
# until a command begins went into looking for some.
gc.set_threshold(50_000, 20, 50)
