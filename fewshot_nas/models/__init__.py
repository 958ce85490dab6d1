"""The supernet, the subnets inside it, and its split into groups that inherit their weights."""
