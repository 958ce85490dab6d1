"""Search under constraints: which bounds can be met, who proposes archs, and what was found."""
