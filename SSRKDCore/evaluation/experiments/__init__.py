"""The paper's tables and figures, repeated on our cases, and what goes beyond them."""
