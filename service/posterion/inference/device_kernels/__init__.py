"""All samples of a bank in one pass over generated Triton kernels, on a GPU."""
