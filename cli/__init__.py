"""The `linesight` command: one thin file per verb."""
