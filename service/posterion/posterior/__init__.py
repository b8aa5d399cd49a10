"""Markov chain Monte Carlo over a parameter vector, given only minibatch gradients."""
