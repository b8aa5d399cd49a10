"""From structures to edges: graphs of single structures, and batches of them as tensors."""
