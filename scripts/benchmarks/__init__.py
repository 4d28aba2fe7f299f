"""What scripts/bench measures, and with what: networks, peers, processes, rows of tables."""
