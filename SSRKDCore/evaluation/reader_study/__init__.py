"""The blinded reader study: questionnaires as offline web pages, and their scores."""
