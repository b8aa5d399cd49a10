"""The REST API: FastAPI over a `Backend`; knows neither torch nor Ray."""
