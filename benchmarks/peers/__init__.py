"""What else one would write: kept as their documentation teaches, to be measured beside Linesight."""
