"""From images and a device to one network: what lies there, what follows from it, the steps, and the answer."""
