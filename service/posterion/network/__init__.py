"""The stochastic NequIP: an equivariant network whose weights are random variables."""
