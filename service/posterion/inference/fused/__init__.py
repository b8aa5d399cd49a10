"""All samples of a bank in one pass over generated kernels, on a CPU."""
