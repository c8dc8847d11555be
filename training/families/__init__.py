"""The model families that learn: one module each, chosen by name, all trained by `training.loop`."""
