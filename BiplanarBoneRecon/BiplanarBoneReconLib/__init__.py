"""What the module BiplanarBoneRecon is made of: one file a concern."""
