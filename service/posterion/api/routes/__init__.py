"""One module per group of routes; each function reads the request and calls one step."""
