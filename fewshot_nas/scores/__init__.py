"""Scores in files: one shard per part and metric, the manifests beside them, and the merge."""
