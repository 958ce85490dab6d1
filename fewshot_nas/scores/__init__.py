"""Files of scores: a shard for each part and metric, their manifests, and the merge of the parts."""
