"""Timewell: a feature store that can be operated."""
