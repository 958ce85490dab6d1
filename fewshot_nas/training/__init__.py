"""Training: the step, the epoch loop with exact resume, optimizer groups, validation."""
