"""The mistakes that people make with charts, windows and watches: a part of `mistaken_plants`."""

# ruff: noqa: E501 - one mistake, one line

from __future__ import annotations

# fmt: off
CHARTS_AND_WATCHES: list[tuple[str, str, str]] = [
    ("a chart of nothing", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: {}, chart: p, window_ms: 60000 }]"),
    ("a figure in one word", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: not_ok, chart: p, window_ms: 60000 }]"),
    ("a chart of defects for parts", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: u, window_ms: 60000 }]"),
    ("a chart that is none", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: pareto, window_ms: 60000 }]"),
    ("a chart without its window", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p }]"),
    ("a chart of a window that nobody counts", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, window_ms: 900000 }]"),
    ("a chart's window in seconds", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, window_ms: 60 }]"),
    ("a chart by a label that is not counted by", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, window_ms: 60000, by: cavity }]"),
    ("a chart of a class that there is not", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: opens, figure: { type: defects, class: opens }, chart: u, window_ms: 60000 }]"),
    ("two charts of one name", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts:\n    - { name: rate, figure: { type: not_ok }, chart: p, window_ms: 60000 }\n    - { name: rate, figure: { type: not_ok }, chart: ewma, window_ms: 60000 }"),
    ("run rules for an EWMA", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: ewma, window_ms: 60000, rules: [nelson] }]"),
    ("a run rule that is none", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, window_ms: 60000, rules: [western-electric] }]"),
    ("a weight above 1", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: ewma, window_ms: 60000, weight: 20 }]"),
    ("a chart of a channel that is not there", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: shake, figure: { type: measurement, asset: press, channel: vibrations }, chart: i_mr }]"),
    ("a spread of single values", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: shake, figure: { type: measurement, asset: press, channel: vibration }, chart: xbar_r }]"),
    ("a window for measurements", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: shake, figure: { type: measurement, asset: press, channel: vibration }, chart: i_mr, window_ms: 60000 }]"),
    ("a chart over windows that slide in another length", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, over: sliding, window_ms: 60000 }]"),
    ("a chart over every shift with a window", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, over: shift, window_ms: 28800000 }]"),
    ("a chart over one shift by its name", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, over: early }]"),
    ("readings over shifts", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: shake, figure: { type: measurement, asset: press, channel: vibration }, chart: i_mr, over: shift }]"),
    ("a measure that no picture has", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: size, figure: { type: picture, measure: area_mm }, chart: i_mr, window_ms: 60000 }]"),
    ("a measurement of a class that there is not", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: size, figure: { type: picture, measure: area_px, class: opne }, chart: i_mr, window_ms: 60000 }]"),
    ("a score of no view", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: score, figure: { type: picture, measure: anomaly_score }, chart: i_mr, window_ms: 60000 }]"),
    ("a score of a view that no recipe has", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: score, figure: { type: picture, measure: anomaly_score, view: lfet }, chart: i_mr, window_ms: 60000 }]"),
    ("a score of a class", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: score, figure: { type: picture, measure: anomaly_score, view: left, class: open }, chart: i_mr, window_ms: 60000 }]"),
    ("a spread of one part", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: size, figure: { type: picture, measure: area_px }, chart: xbar_s, window_ms: 60000 }]"),
    ("a size by the line", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: size, figure: { type: picture, measure: area_px }, chart: i_mr, by: line, window_ms: 60000 }]"),
    ("a rate of sizes", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: size, figure: { type: picture, measure: area_px }, chart: p, window_ms: 60000 }]"),
    ("a size specified the wrong way round", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: size, figure: { type: picture, measure: area_px, specification: { low: 9, high: 1 } }, chart: i_mr, window_ms: 60000 }]"),
    ("one sliding length twice", "sliding: [{ length_ms: 3600000, every_ms: 300000 }]", "sliding: [{ length_ms: 3600000, every_ms: 300000 }, { length_ms: 3600000, every_ms: 600000 }]"),
    ("a baseline file that is not there", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  baseline_files: [baselines/rate.yaml]"),
    ("a baseline of a chart that there is not", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  baselines: [{ type: counted, chart: rate, subject: station/aoi-1, points: 30, from_ns: 1, to_ns: 2, data: charts, frozen_by: M. Keller, frozen_at_ns: 3, applies_from_ns: 3, rate: 0.04, counted: 12, looked_at: 300 }]"),
    ("a baseline that nobody froze", "by: [recipe, camera, batch, tool]", "by: [recipe, camera, batch, tool]\n  charts: [{ name: rate, figure: { type: not_ok }, chart: p, window_ms: 60000 }]\n  baselines: [{ type: counted, chart: rate, subject: station/aoi-1, points: 30, from_ns: 1, to_ns: 2, data: charts, frozen_by: \"\", frozen_at_ns: 3, applies_from_ns: 3, rate: 0.04, counted: 12, looked_at: 300 }]"),
    ("a chart rule for a chart that there is not", "alerts:\n", "alerts:\n  - { name: control, type: chart, chart: rate }\n"),
    ("a watch rule for an asset that is not watched", "alerts:\n", "alerts:\n  - { name: odd, type: asset_watch, asset: press }\n"),
    ("a watch quicker than its channels", "    channels:\n      - {", "    watch: { every_ms: 100 }\n    channels:\n      - {"),
    ("a watch that learns from a handful", "    channels:\n      - {", "    watch: { learn_rows: 20 }\n    channels:\n      - {"),
    ("a specification the wrong way round", "sample_ms: 500 }", "sample_ms: 500, specification: { low: 7, high: 1 } }"),
    ("a specification of nothing", "sample_ms: 500 }", "sample_ms: 500, specification: {} }"),
]
# fmt: on
