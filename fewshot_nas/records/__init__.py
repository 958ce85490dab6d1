"""Files that are whole or absent: strict JSON, files that only grow, journals, the comparison of records."""
