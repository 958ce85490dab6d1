"""Work on many machines through Ray: the schedule of the tasks, and the workers that compute them."""
