"""How long networks take on a device: measured block by block, added up for any arch."""
