"""What travels: one module per message family, the topic catalogue, the codec and the plant description."""
