"""The search space: codes, archs, widths, sampling, costs and the pool. Standard library only."""
