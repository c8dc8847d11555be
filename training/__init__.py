"""Builds, trains, evaluates and releases the models that Triton serves. Needs the `train` extra."""
