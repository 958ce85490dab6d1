"""What a run found out, as figures and as one HTML page."""
