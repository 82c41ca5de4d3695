"""Whether a reconstruction can be trusted: outlines, images against the training's, consistency of the views, uncertainty, and a light."""
