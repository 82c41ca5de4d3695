"""Training: simulated samples, augmentation, and the first compact network."""
