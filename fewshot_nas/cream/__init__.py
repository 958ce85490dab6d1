"""Cream of the Crop (arXiv:2010.15821): good paths found so far teach the path that is trained."""
