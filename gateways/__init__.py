"""The plant's edge: the only code that touches cameras, sensors and PLCs."""
