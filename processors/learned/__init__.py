"""Trained models: from a picture to what the model is asked, and from its answers to defects. The inference itself is the caller's."""
