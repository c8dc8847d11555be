"""What a quality department uses: yield, capability, association, change points, maps. docs/statistics.md cites each formula."""
