"""Posterion: energies, forces and honest uncertainty for molecules and materials."""

__version__ = "0.1.0"
