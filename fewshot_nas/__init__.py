"""One-shot and few-shot weight-sharing architecture search, ranked honestly."""

__version__ = "0.1.0"
