"""Scoring subnets: the plan, the engine that executes it, the plain way that it must equal, the runner."""
