"""Training of small networks for compression, with PyTorch on the CPU: pip install 'accelsim[train]'."""
