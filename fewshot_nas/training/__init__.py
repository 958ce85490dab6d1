"""Training: a step, an epoch loop with exact resume, optimizer groups, validation."""
