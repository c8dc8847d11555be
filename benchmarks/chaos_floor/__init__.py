"""`make chaos-floor`: what is pulled out of a plant floor, in random order, and what the PLC did meanwhile."""
