"""Statistical process control: control charts, run rules, average run lengths, frozen baselines. docs/statistics.md cites each formula."""
