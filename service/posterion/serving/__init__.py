"""Batching, roll-out and processes: everything between the API and the predictor."""
