"""What the service says about itself: structured logs and Prometheus metrics."""
