"""A run: its images, its trainings from their settings to their result, and the choice of an epoch."""
