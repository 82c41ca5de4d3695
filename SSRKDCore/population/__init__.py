"""Where training cases come from when no hospital gives CTs: random knees, their densities and surfaces."""
