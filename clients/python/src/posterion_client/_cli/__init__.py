"""What ``posterion-client`` does on a command line."""
