"""Uncertainty methods behind one protocol: each turns finished members into parameter vectors."""
