"""Calibration of real rooms: from balls, rulers, objects with known markers, and from the images of the bones themselves."""
