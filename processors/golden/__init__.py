"""Golden comparison: a frame against the picture of a good part, from alignment to located, classified defects."""
