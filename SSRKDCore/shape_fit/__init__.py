"""A statistical shape model in calibrated radiographs: its knee in a rig, its apparent contours, and edges that they are matched with."""
