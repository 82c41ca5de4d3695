"""Shape-model refinement: what the network saw, moved to where bones' edges are, as far as knees look like that."""
