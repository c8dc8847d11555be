"""Faults that a plant produces, on a whole line that runs, with the ledger as judge: `make chaos`."""
