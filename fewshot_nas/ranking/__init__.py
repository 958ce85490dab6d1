"""Rankings of archs: correlations, proxies, and the ranker that predicts accuracies. No torch here."""
