"""From offer to receipt, as machines that see lengths, never payload: no files, network, clock."""
