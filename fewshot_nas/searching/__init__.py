"""Search within bounds: whether the bounds can be met, proposals, values of archs, and the journal."""
