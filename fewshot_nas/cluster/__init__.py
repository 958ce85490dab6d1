"""Work on many machines through Ray: who gets which task, and the workers that compute them."""
