"""3D Slicer without its window, for tests: real MRML, segmentations, colours, layouts and views from `slicer-core`.

Only what needs Qt in Slicer is doubled: the application object, the base classes of scripted modules, the parameter-node wrapper,
and a few widgets, shown by PySide6. No behaviour of MRML, segmentations or distances is.
"""
