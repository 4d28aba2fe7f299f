"""Congestion controls behind one small interface."""
