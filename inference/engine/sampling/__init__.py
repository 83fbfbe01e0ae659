"""From logits to tokens: adjustments, constraints, and the draw."""
