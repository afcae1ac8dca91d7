"""What every process says about itself: structured log lines and Prometheus metrics."""
