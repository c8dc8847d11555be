# Everything is installed into this checkout (.venv, .local) by `setup`, which every other target runs first.

# Linesight runs on CPython 3.11 or 3.12: the first of these that is one (a shim that does not run is not).
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$python && exit; \
	done; echo python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-bench setup-train demo demo-learning test check bench bench-floor bench-models bench-statistics chaos chaos-floor soak docs locks

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

setup: ## install what the demo and a line need
	@$(PYTHON) -m ops.local.setup

setup-dev:
	@$(PYTHON) -m ops.local.setup --extra dev

setup-bench:
	@$(PYTHON) -m ops.local.setup --extra bench

setup-train: ## install what `linesight train` and `evaluate` need: torch (9 GB of disk)
	@$(PYTHON) -m ops.local.setup --extra train

demo: setup ## a whole simulated line, live, for about a minute
	$(BIN)/linesight demo

demo-learning: setup-train ## a simulated line whose lamp fails and which learns the new light by itself; needs torch
	$(BIN)/linesight demo-learning

test: setup-dev ## every test, on real Kafka, Triton and OPC UA
	$(BIN)/pytest -n 2 --dist loadfile tests/unit tests/contract tests/integration
	$(BIN)/pytest tests/line tests/chaos

check: setup-dev ## lint, format, types, imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-bench ## every figure of the speed table beside its floor (about 20 min)
	$(BIN)/python -m benchmarks

bench-floor: setup-bench ## what the plant floor asks: command round trips, sampled tags, disk spool, RTSP, each beside its floor (10 min)
	$(BIN)/python -m benchmarks.floor

bench-statistics: setup-bench ## run lengths of the control charts beside theory, quality of alerts, sensors, speed of the stage beside others (8 min)
	$(BIN)/python -m benchmarks.statistics

bench-models: setup-train ## what the model families reach on real data, beside a plain baseline (90 min)
	$(BIN)/python -m benchmarks.models

chaos: setup ## faults on a whole line at 50 frames/s, each alone and in pairs, with the ledger as judge (40 min)
	$(BIN)/python -m benchmarks.chaos

chaos-floor: setup ## 60 pulls on a plant floor (PLC, cable, certificates, cameras, broker, gateways) in random order, by the PLC's own log (20 min)
	$(BIN)/python -m benchmarks.chaos_floor

soak: setup-dev ## the demo line for 20 minutes, 10,000 damaged records, 200 pulls on the floor: what grows, slows down or is lost (over 85 min)
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.fuzz
	$(BIN)/python -m benchmarks.chaos_floor --pulls 200 --out run/chaos-floor-200.json
	$(BIN)/pytest -m soak

docs: setup ## write the AsyncAPI document and the message reference again
	$(BIN)/python -m schemas.asyncapi

locks: setup-dev ## resolve all dependencies again and write requirements/
	requirements/lock
