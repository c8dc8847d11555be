"""The simulated plant: drawn parts with known defects, cameras, PLC server, sensors."""
