"""From four bone surfaces to measurements, an osteotomy, a guide, and how well that guide fits."""
