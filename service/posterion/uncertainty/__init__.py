"""How far an answer can be trusted. Arrays in, arrays out; no store, no server."""
