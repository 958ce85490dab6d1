"""Scoring subnets: the plan, the engine that walks it, the plain way it must equal, the runner."""
