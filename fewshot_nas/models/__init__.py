"""The supernet, its subnets, and the groups of the next phase, which inherit its weights."""
