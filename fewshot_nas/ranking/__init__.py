"""How well scores rank archs: correlations, proxies and the shard files of scores. No torch here."""
