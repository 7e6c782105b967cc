"""The compression front end: recipes that turn a network's tensors into a trace."""
