"""How scores and errors look: PNG bytes, no display, no global state."""
