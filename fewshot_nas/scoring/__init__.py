"""From archs to scores, merged scores, predictions and exported networks: what the commands of these names do."""
