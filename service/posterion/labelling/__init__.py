"""Where do reference energies and forces come from? Geometries, and their labels."""
