"""The names of everything under `results/`, which no other room makes (docs/file_formats.md has them); score files."""
