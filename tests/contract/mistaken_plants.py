"""The mistakes that people make in plant files, and what they are told: `mistakes/messages.txt`.

Each mistake is an edit of `mistakes/good.yaml`: what stands there, once, and what somebody wrote instead. Run this file to write the
messages anew; then read them as the person who made the mistake, without this table at hand.
"""

# ruff: noqa: E501 - one mistake, one line

from __future__ import annotations

import difflib
import tempfile
from pathlib import Path

from mistaken_charts import CHARTS_AND_WATCHES

from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant

FOLDER = Path(__file__).with_name("mistakes")
MESSAGES = FOLDER / "messages.txt"
GOOD = (FOLDER / "good.yaml").read_text(encoding="utf-8")
ENVIRONMENT = {"PLC_PASSWORD": "s3cret", "ALERTS_SECRET": "a secret of sixteen characters"}

Mistake = tuple[str, str, str]

# fmt: off
MISTAKES: dict[str, list[Mistake]] = {
    "YAML": [
        ("a tab for indentation", "        plc: plc-1\n        gate", "\tplc: plc-1\n        gate"),
        ("a quote that is not closed", '"https://example.com/alerts"', '"https://example.com/alerts'),
        ("a quote that is not closed before another", "    url: http://192.0.2.20:8090/left/{trigger}\n              timeout_ms: 500", '    url: "http://192.0.2.20:8090/left/{trigger}\n              timeout_ms: "500"'),
        ("a single quote that is not closed", "plant: works", "plant: 'works"),
        ("a bracket that is not closed", "views: [right, back]", "views: [right, back"),
        ("a brace that is not closed", "voting: { type: k_of_n, k: 1 }", "voting: { type: k_of_n, k: 1"),
        ("no colon", "plant: works", "plant works"),
        ("no space after the colon", "gate_after_ms: 2000", "gate_after_ms:2000"),
        ("a colon in a text", "plant: works", "plant: works: north"),
        ("one space too many", "    revision: 1", "     revision: 1"),
        ("one space too few", "        gate_after_ms: 2000", "       gate_after_ms: 2000"),
        ("a dash left out", "      - name: end\n", "        name: end\n"),
        ("the same key twice", "plant: works", "plant: works\nplant: works-2"),
        ("an anchor that is not there", "voting: { type: k_of_n, k: 1 }", "voting: *usual"),
        ("an asterisk without quotes", "device: Maker-1234", "device: *"),
        ("an at sign without quotes", "plant: works", "plant: @works"),
        ("a Windows path in double quotes", "reference: left.png", 'reference: "C:\\Users\\left.png"'),
        ("two files in one", "assets:\n", "---\nassets:\n"),
        ("a brace at the beginning", 'path: "pictures/{view}"', "path: {view}"),
        ("a Python tag", "plant: works", "plant: !!python/name:os.system works"),
        ("a list in front of the file", "plant: works", "- plant: works"),
    ],
    "what YAML makes of a word or number": [
        ("Norway as a name", "plant: works", "plant: no"),
        ("yes as a camera's name", "name: left\n", "name: yes\n"),
        ("on as a name", "name: press", "name: on"),
        ("a number as a name", "plant: works", "plant: 4711"),
        ("an octal number", "revision: 1", "revision: 010"),
        ("a number with a leading zero as a name", "plant: works", "plant: 007"),
        ("minutes and seconds", "grace_ms: 5000", "grace_ms: 1:30"),
        ("a date as a name", "name: board-a", "name: 2026/11/24"),
        ("digits in groups", "gate_after_ms: 2000", "gate_after_ms: 2_000"),
        ("a comma in a number", "gate_after_ms: 2000", "gate_after_ms: 2,000"),
        ("a decimal comma", "ok_share_ratio: 0.02", "ok_share_ratio: 0,02"),
        ("nothing after the colon", "plant: works", "plant:"),
        ("none for null", "deadline_ms: 1000", "deadline_ms: none"),
        ("a maybe", "required: true", "required: maybe"),
    ],
    "units": [
        ("a gate in seconds", "gate_after_ms: 2000", "gate_after_ms: 2"),
        ("a deadline in seconds", "deadline_ms: 1000", "deadline_ms: 1"),
        ("a fraction of a second", "deadline_ms: 1000", "deadline_ms: 0.5"),
        ("a heartbeat in seconds", "heartbeat_ms: 500", "heartbeat_ms: 1"),
        ("a time-out in seconds", "timeout_ms: 500", "timeout_ms: 5"),
        ("an exposure limit in seconds", "timeout_ms: 500", "timeout_ms: 500\n              expose_within_ms: 1"),
        ("windows in seconds", "windows_ms: [60000, 3600000]", "windows_ms: [60, 3600]"),
        ("a unit in the value", "gate_after_ms: 2000", "gate_after_ms: 2s"),
        ("milliseconds in the value", "deadline_ms: 1000", "deadline_ms: 1000 ms"),
        ("px in the value", "max_width_px: 2048", "max_width_px: 2048px"),
        ("megabytes in the value", "inline_limit_bytes: 1000000", "inline_limit_bytes: 1MB"),
        ("days in the value", "retention_days: 365", "retention_days: 365d"),
        ("percent for a ratio", "raise_ratio: 0.2", "raise_ratio: 20"),
        ("a percent sign", "baseline_ratio: 0.05", "baseline_ratio: 5%"),
        ("percent for a score", "minimum_score: 0.7", "minimum_score: 70"),
        ("percent for a confidence", "confidence: 0.9973", "confidence: 99.73"),
        ("percent for the share that is kept", "ok_share_ratio: 0.02", "ok_share_ratio: 2"),
        ("the unit left out of the key", "gate_after_ms: 2000", "gate_after: 2000"),
        ("another unit in the key", "deadline_ms: 1000", "deadline_s: 1"),
    ],
    "types": [
        ("a word for a number", "minimum_score: 0.7", "minimum_score: high"),
        ("one word for a list", "views: [left]", "views: left"),
        ("a list for one word", "type: folder", "type: [folder]"),
        ("keys for a list", "channels:\n      - {", "channels:\n        {"),
        ("text for keys", "compare: { name: golden_compare, version: 2 }", "compare: golden_compare"),
        ("a list for keys", "record:\n  ok_share_ratio: 0.02", "record:\n  - ok_share_ratio: 0.02"),
        ("one number for a list of windows", "windows_ms: [60000, 3600000]", "windows_ms: 60000"),
        ("numbers for cameras", "views: [right, back]", "views: [1, 2]"),
        ("half a window", "windows_ms: [60000, 3600000]", "windows_ms: [60000.5]"),
        ("not a number", "high: 7.1", "high: .nan"),
        ("endless", "high: 7.1", "high: .inf"),
    ],
    "keys": [
        ("a letter left out", "plc: plc-1\n        gate", "pl: plc-1\n        gate"),
        ("a capital letter", "plant: works", "Plant: works"),
        ("a hyphen for an underscore", "gate_after_ms: 2000", "gate-after-ms: 2000"),
        ("camel case", "deadline_ms: 1000", "deadlineMs: 1000"),
        ("stations at the top", "webhooks:\n", "stations: []\nwebhooks:\n"),
        ("cameras at the top", "webhooks:\n", "cameras: []\nwebhooks:\n"),
        ("one PLC at the top", "plcs:\n", "plc:\n"),
        ("a deadline at the station", "gate_after_ms: 2000", "deadline_ms: 1000"),
        ("a made-up key at the top", "plant: works", "plant: works\nversion: 1"),
        ("a needed key left out", "            views: [left]\n", ""),
        ("an empty recipe", "recipes:\n", "recipes:\n  - {}\n"),
        ("a key of another kind of source", "type: folder,", "type: folder, url: x,"),
        ("a kind that there is not", "type: genicam", "type: gige"),
        ("no kind", "type: rtsp, ", ""),
        ("an unknown rule", "type: sensor_limit", "type: sensor"),
        ("an unknown security", "security: basic256sha256", "security: basic256"),
        ("an unknown fail-safe", "fail_safe: reject", "fail_safe: keep"),
        ("a model without its version", "golden_compare, version: 2", "golden_compare"),
        ("the newest model", "version: 2", "version: latest"),
    ],
    "names": [
        ("a name with a space", "name: line-1\n", "name: line 1\n"),
        ("a name with a slash", "name: board-a", "name: board/a"),
        ("an empty name", "name: top", 'name: ""'),
        ("an umlaut in the plant's name", "plant: works", "plant: köln"),
        ("two cameras of one name", "name: top", "name: left"),
        ("two stations of one name", "name: end", "name: aoi-1"),
        ("one view at two cameras", "views: [side]", "views: [top]"),
        ("a recipe twice", "alerts:\n", "  - { name: board-a, views: [{ name: top }], inspection: { type: golden }, classes: [{ name: open }] }\nalerts:\n"),
        ("two alerts of one name", "name: shaky", "name: bad-batch"),
        ("a class twice", "name: short", "name: open"),
        ("a PLC that is not there", "plc: plc-1\n        gate", "plc: plc-2\n        gate"),
        ("another case", "plc: plc-1\n        gate", "plc: PLC-1\n        gate"),
        ("a view that no camera takes", "{ name: right, req", "{ name: rihgt, req"),
        ("a line that is not there", "line: line-1", "line: line-2"),
        ("an alert for a station that is not there", "defect_rate, station: aoi-1", "defect_rate, station: aoi-9"),
        ("an alert for an asset that is not there", "asset: press", "asset: pres"),
        ("an alert for a channel that is not there", "channel: vibration", "channel: Vibrations"),
        ("a reference that is not there", "reference: left.png", "reference: lft.png"),
    ],
    "addresses": [
        ("a camera without its scheme", "url: http://192.0.2.20:8090", "url: 192.0.2.20:8090"),
        ("a camera without its host", "http://192.0.2.20:8090", "http://:8090"),
        ("a port that is none", "http://192.0.2.20:8090", "http://192.0.2.20:80900"),
        ("a placeholder that there is not", "left/{trigger}", "left/{part}"),
        ("one folder for two views", "pictures/{view}", "pictures"),
        ("a stream with a web address", "rtsp://", "http://"),
        ("a stream without a host", "rtsp://192.0.2.21:554/main", "rtsp:///main"),
        ("a PLC without its scheme", "opc.tcp://192", "192"),
        ("a PLC with a web address", "opc.tcp://", "https://"),
        ("a PLC without its port", "192.0.2.10:4840", "192.0.2.10"),
        ("a PLC without its host", "192.0.2.10:4840", ":4840"),
        ("a receiver without its scheme", "https://example", "example"),
        ("a space in an address", "https://example.com/alerts", "https://example.com/my alerts"),
    ],
    "PLC": [
        ("no certificate", "    certificate: certificates/linesight.der\n", ""),
        ("no certificate at all", "    certificate: certificates/linesight.der\n    private_key: certificates/linesight.key\n    server_certificate: certificates/plc-1.der\n", ""),
        ("the certificate for the key", "private_key: certificates/linesight.key", "private_key: certificates/linesight.der"),
        ("a certificate for the folder of trusted ones", "    server_certificate: certificates/plc-1.der\n", "    trusted_certificates: certificates/plc-1.der\n"),
        ("trust in whatever lies beside our key", "    server_certificate: certificates/plc-1.der\n", "    trusted_certificates: ./certificates/\n"),
        ("a list of trusted certificates", "    server_certificate: certificates/plc-1.der\n", "    trusted_certificates: [certificates/plc-1.der, certificates/plc-1-next.der]\n"),
        ("a trust list under another name", "    server_certificate: certificates/plc-1.der\n", "    trusted: certificates/plc-1\n"),
        ("a password in the open", "security: basic256sha256", "security: none"),
        ("a node with a namespace index", "node: s=press", "node: ns=2;s=press"),
        ("a station's node with a namespace index", "session: s={station}", "session: ns=3;s={station}"),
        ("a node with a namespace's name", "node: s=press", "node: nsu=urn:press;s=press"),
        ("a node without its kind", "node: s=press", "node: press"),
        ("a number that is none", "node: s=press.Vibration", "node: i=press"),
        ("an empty node", "node: s=press.Vibration", "node: s="),
        ("a namespace by its index", "namespace: urn:linesight:station", "namespace: 2"),
        ("a namespace by its index in quotes", "namespace: urn:linesight:station", 'namespace: "ns=2"'),
        ("a placeholder of a node that there is not", "trigger_count: s={station}", "trigger_count: s={line}"),
        ("the next product for the node that announces it", "      session: s={station}.Session\n", "      session: s={station}.Session\n      next_recipe: board-b@1\n"),
        ("one node for two things", "      trigger_count: s={station}.Arrivals.Count\n", "      trigger_count: s={station}.Session\n"),
        ("a default node for something else", "      session: s={station}.Session\n", "      session: s={station}.Recipe\n"),
        ("none for a node that the PLC does not have", "      session: s={station}.Session\n", "      session: s={station}.Session\n      ready_recipe: none\n"),
        ("an announcement that there is not", "      session: s={station}.Session\n", "      session: s={station}.Session\n      coming_recipe: s={station}.NextRecipe\n"),
        ("a negative deadband", "sample_ms: 500 }", "sample_ms: 500, deadband: -0.1 }"),
        ("a deadband in percent", "sample_ms: 500 }", "sample_ms: 500, deadband: 5% }"),
        ("a deadband of a machine that the plant publishes itself", "    plc: plc-1\n    channels:\n      - { name: vibration, unit: mm/s, node: s=press.Vibration, sample_ms: 500 }", "    channels:\n      - { name: vibration, unit: mm/s, deadband: 0.1 }"),
        ("a channel that nobody can read", ", node: s=press.Vibration", ""),
        ("a camera without a trigger", "        plc: plc-1\n        gate", "        gate"),
    ],
    "numbers that cannot be": [
        ("a deadline behind the gate", "deadline_ms: 1000", "deadline_ms: 3000"),
        ("a gate before the deadline", "gate_after_ms: 2000", "gate_after_ms: 800"),
        ("a deadline in the past", "deadline_ms: 1000", "deadline_ms: -1"),
        ("late frames without a deadline", "deadline_ms: 1000\n    fail_safe: reject\n    overload: inspect_all", "deadline_ms: null\n    fail_safe: reject\n    overload: newest_first"),
        ("more votes than views", "k: 1", "k: 3"),
        ("no vote", "k: 1", "k: 0"),
        ("a threshold above the scale", "difference_threshold: 90", "difference_threshold: 300"),
        ("a quality above the scale", "jpeg_quality: 90", "jpeg_quality: 950"),
        ("an opportunity for each pixel", "opportunities_per_part: 216", "opportunities_per_part: 216000000"),
        ("no opportunity", "opportunities_per_part: 216", "opportunities_per_part: 0"),
        ("a negative area", "minimum_area_px: 12", "minimum_area_px: -12"),
        ("a negative grace", "grace_ms: 5000", "grace_ms: -1"),
        ("more grace than window", "grace_ms: 5000", "grace_ms: 7200000"),
        ("one window twice", "windows_ms: [60000, 3600000]", "windows_ms: [60000, 60000]"),
        ("a baseline frozen by nobody", "confidence: 0.9973 }", 'confidence: 0.9973, frozen_on: "2026-11-01" }'),
        ("a baseline frozen some day", "confidence: 0.9973 }", "confidence: 0.9973, frozen_by: M. Keller, frozen_on: November }"),
        ("a run rule by its number", "confidence: 0.9973 }", "confidence: 0.9973, run_rules: [rule_1] }"),
        ("a cycle of no time", "gate_after_ms: 2000", "gate_after_ms: 2000\n        ideal_cycle_ms: 0"),
        ("a time zone that is none", "time_zone: Europe/Berlin", "time_zone: Europe/Berln"),
        ("a time zone as its hours", "time_zone: Europe/Berlin", "time_zone: UTC+1"),
        ("shifts that overlap", 'begins: "14:00"', 'begins: "13:30"'),
        ("a shift's hour in one digit, without quotes", 'begins: "06:00"', "begins: 6:00"),
        ("a shift that ends at midnight", 'ends: "22:00"', 'ends: "24:00"'),
        ("planned stops that overlap", "  shifts:\n", '  planned_stops:\n    - { name: lunch, begins: "12:00", ends: "12:30" }\n    - { name: repair, begins: "12:15", ends: "13:00" }\n  shifts:\n'),
        ("a planned stop without its end", "  shifts:\n", '  planned_stops: [{ name: lunch, begins: "12:00" }]\n  shifts:\n'),
        ("a planned stop in minutes", "  shifts:\n", '  planned_stops: [{ name: lunch, begins: "12:00", ends: 30 }]\n  shifts:\n'),
        ("one planned stop twice", "  shifts:\n", '  planned_stops:\n    - { name: lunch, begins: "12:00", ends: "12:30" }\n    - { name: lunch, begins: "18:00", ends: "18:30" }\n  shifts:\n'),
        ("one shift twice", "name: late", "name: early"),
        ("a day in short", "days: [monday, friday]", "days: [mon, fri]"),
        ("a sliding window that does not divide", "every_ms: 300000", "every_ms: 700000"),
        ("a sliding window of too many steps", "every_ms: 300000", "every_ms: 1000"),
        ("a label that no PLC gives", "batch, tool]", "batch, cavity]"),
        ("figures by the same twice", "batch, tool]", "batch, batch]"),
        ("a label called batch", "{ name: tool, node", "{ name: batch, node"),
        ("a label's node with a namespace", '"s={station}.Arrivals.Tools"', '"ns=2;s={station}.Arrivals.Tools"'),
        ("no window at all", "windows_ms: [60000, 3600000]", "windows_ms: []"),
        ("a baseline of nothing", "baseline_ratio: 0.05", "baseline_ratio: 0"),
        ("a model for each bad batch", "record:\n", "retraining: { mix_batches: 1 }\nrecord:\n"),
        ("a canary that judges every part", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { canary_share_ratio: 1 }"),
        ("a canary in per cent", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { canary_share_ratio: 10 }"),
        ("a shadow without frames", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { shadow_frames: 0 }"),
        ("a trial of seconds", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { trial_limit_ms: 3600 }"),
        ("a version that has to be quicker", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { slower_factor: 0.9 }"),
        ("chance counted as proof", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { p_value: 0.5 }"),
        ("minutes with a unit", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { budget_min: 20 min }"),
        ("a misspelt limit of learning", "learning: { canary_share_ratio: 0.1, shadow_frames: 200 }", "learning: { canary_part: 100 }"),
        ("no partition", "partitions: 4", "partitions: 0"),
        ("images larger than records", "inline_limit_bytes: 1000000", "inline_limit_bytes: 100000000"),
        ("an exposure at the very moment", "timeout_ms: 500", "timeout_ms: 500\n              expose_within_ms: 0"),
        ("a match window of nothing", "window_ms: 100 }", "window_ms: 0 }"),
    ],
    "without effect": [
        ("learning that no recipe follows", "version: 1, follow: true }", "version: 1 }"),
        ("an alert that clears above its limit", "clear_ratio: 0.1", "clear_ratio: 0.4"),
        ("an alert that clears where it is raised", "clear_ratio: 0.1", "clear_ratio: 0.2"),
        ("an alert that nothing clears", "clear_ratio: 0.1", "clear_ratio: 0"),
        ("an alert for everything", "raise_ratio: 0.2, clear_ratio: 0.1", "raise_ratio: 0, clear_ratio: 0"),
        ("limits the wrong way round", "low: 0, high: 7.1", "low: 7.1, high: 0"),
        ("a limit without limits", ", low: 0, high: 7.1", ""),
        ("no view in a recipe", "    views:\n      - { name: left, reference: left.png }\n      - { name: right, required: true }\n", "    views: []\n"),
        ("no view at a camera", "views: [side]", "views: []"),
        ("no defect class", "    classes:\n      - { name: open, minimum_score: 0.5, minimum_area_px: 12 }\n      - { name: short, minimum_score: 0.7 }\n", "    classes: []\n"),
        ("no channel", "      - { name: vibration, unit: mm/s, node: s=press.Vibration, sample_ms: 500 }\n", "      []\n"),
    ],
    "challenge parts": [
        ('a challenge of which nobody hears', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { parts: [{ name: open, part_id: "CHALLENGE-*", expects: [open] }] }'),
        ('a challenge that is every part', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { parts: [{ name: open, part_id: "*", expects: [open] }] }'),
        ('a challenge by which no part is known', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { parts: [{ name: open, expects: [open] }] }'),
        ('a challenge with a class that no recipe has', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { parts: [{ name: open, part_id: "CHALLENGE-*", expects: [opne] }] }'),
        ('a challenge in a view of another station', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { parts: [{ name: open, part_id: "CHALLENGE-*", expects: [open], view: top }] }'),
        ('a challenge by a label that the PLC does not give', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { parts: [{ name: open, labels: { tol: "4711" }, expects: [open] }] }'),
        ('two schedules of challenges', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { every_ms: 3600000, per_shift: 1, parts: [{ name: open, part_id: "CHALLENGE-*", expects: [open] }] }'),
        ('a schedule in minutes', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { every_min: 60, parts: [{ name: open, part_id: "CHALLENGE-*", expects: [open] }] }'),
        ('a challenge on a hundred occasions a shift', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { per_shift: 100, parts: [{ name: open, part_id: "CHALLENGE-*", expects: [open] }] }'),
        ('a schedule without a part', 'low: 0, high: 3 }] }', 'low: 0, high: 3 }] }\n        challenges: { per_shift: 2 }'),
        ("a rule for challenges that there are not", "alerts:\n", "alerts:\n  - { name: proof, type: challenge }\n"),
    ],
    "environment": [
        ("a variable that is not set", "${PLC_PASSWORD}", "${PLC_PASWORD}"),
        ("a variable without braces", '"${PLC_PASSWORD}"', "$PLC_PASSWORD"),
        ("a brace left out", '"${PLC_PASSWORD}"', '"${PLC_PASSWORD"'),
        ("a default with a colon alone", "${PLC_PASSWORD}", "${PLC_PASSWORD:secret}"),
        ("a space in a variable", "${PLC_PASSWORD}", "${PLC PASSWORD}"),
        ("a default of another type", "heartbeat_ms: 500", "heartbeat_ms: ${LINESIGHT_UNSET:-fast}"),
    ],
    "several at once": [
        ("a misspelt key, a second's deadline and an alert for nobody", "    deadline_ms: 1000\n    fail_safe: reject\n    overload: inspect_all\n    opportunities_per_part: 216\nalerts:\n  - { name: bad-batch, type: defect_rate, station: aoi-1",
         "    deadline_ms: 1\n    failsafe: reject\n    overload: inspect_all\n    opportunities_per_part: 216\nalerts:\n  - { name: bad-batch, type: defect_rate, station: aoi-7"),
        ("a name, a unit and a reference", "name: shaky, type: sensor_limit, asset: press", "name: shaky, type: sensor_limit, aset: press"),
        ("a key of another place and what follows from a name", "plant: works\nlines:", "plant: works\nlimit: 5\nkafca: {}\nlines:"),
    ],
    "interlocks and image health": [
        ("a stop that waits for a second signal which nobody gives", "stop_line: { signals: 1 }", "stop_line: { signals: 2 }"),
        ("no signal at all", "stop_line: { signals: 1 }", "stop_line: { signals: 0 }"),
        ("a setpoint with its limits the wrong way round", "stop_line: { signals: 1 }", "stop_line: { signals: 1 }, speed: { node: s=Speed, low: 60, high: 10 }"),
        ("a setpoint without its node", "stop_line: { signals: 1 }", "stop_line: { signals: 1 }, speed: { low: 10, high: 60 }"),
        ("a mode that no line has", "stop_line: { signals: 1 }", "stop_line: { signals: 1 }, speed: { node: s=Speed, low: 10, high: 60, modes: [run] }"),
        ("an unknown kind in dry_run", "stop_line: { signals: 1 }", "stop_line: { signals: 1 }, dry_run: [stop]"),
        ("an image health rule without a limit", "alerts:\n", "alerts:\n  - { name: lens, type: image_health, figure: sharpness_ratio }\n"),
        ("a divert that no interlock knows", "action: stop_line", "action: divert"),
        ("approval of nothing", "action: stop_line", "approval: required"),
        ("approval as yes", "action: stop_line", "action: stop_line\n    approval: true"),
        ("a figure that nobody measures", "alerts:\n", "alerts:\n  - { name: lens, type: image_health, figure: sharpness, low: 0.7 }\n"),
    ],
    "trained models": [
        ("a family that there is not", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: segmentation, model: { name: boards, version: 1 } } }"),
        ("a view's inspection without its kind", "{ name: right, required: true }", "{ name: right, required: true, inspection: { model: { name: boards, version: 1 } } }"),
        ("a trained model that is not named", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: segmenter } }"),
        ("a trained model without its version", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: segmenter, model: { name: boards } } }"),
        ("a model's name alone", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: segmenter, model: boards } }"),
        ("a folder for a model's name", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: anomaly, model: { name: models/boards, version: 1 } } }"),
        ("a version of 0", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: classifier, model: { name: boards, version: 0 } } }"),
        ("a version to follow", "golden_compare, version: 2", "golden_compare, version: 2, follow: latest"),
        ("a model that follows under another word", "golden_compare, version: 2", "golden_compare, version: 2, auto: true"),
        ("following without the lowest version", "golden_compare, version: 2", "golden_compare, follow: true"),
        ("percent for a model's threshold", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: segmenter, model: { name: boards, version: 1 }, threshold: 70 } }"),
        ("the threshold of a map for a classifier", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: classifier, model: { name: boards, version: 1 }, map_threshold: 0.5 } }"),
        ("a key of golden comparison for a trained model", "{ name: right, required: true }", "{ name: right, required: true, inspection: { type: segmenter, model: { name: boards, version: 1 }, difference_threshold: 90 } }"),
        ("a trained model in golden comparison's place", "      type: golden\n      compare: { name: golden_compare, version: 2 }\n      difference_threshold: 90\n      classifier: { name: defect_classifier, version: 1, follow: true }\n", "      type: segmenter\n      compare: { name: boards, version: 1 }\n"),
        ("a tolerance map beside a trained model", "{ name: left, reference: left.png }", "{ name: left, reference: left.png, tolerance: left.png, inspection: { type: pair_segmenter, model: { name: boards, version: 1 } } }"),
        ("one model for two families", "      - { name: left, reference: left.png }\n      - { name: right, required: true }\n", "      - { name: left, inspection: { type: segmenter, model: { name: boards, version: 1 } } }\n      - { name: right, inspection: { type: classifier, model: { name: boards, version: 1 } } }\n"),
    ],
    "receivers": [
        ("a receiver of no known type", "type: webhook, url", "type: email, url"),
        ("a receiver without a name", "name: shift, type", "type"),
        ("one name for two receivers", "name: prometheus", "name: shift"),
        ("a receiver's name with a slash", "name: shift,", "name: a/b,"),
        ("a webhook without its secret", ', secret: "${ALERTS_SECRET}"', ""),
        ("a secret that one can guess", '"${ALERTS_SECRET}"', "hunter2"),
        ("an Alertmanager without its scheme", "url: http://192.0.2.30:9093", "url: 192.0.2.30:9093"),
        ("a severity that there is not", "minimum_severity: warning", "minimum_severity: error"),
        ("an escalation in seconds", "escalate_after_ms: 900000", "escalate_after_ms: 900"),
        ("an escalation at once", "escalate_after_ms: 900000", "escalate_after_ms: 0"),
        ("a rule that there is not", "rules: [shaky]", "rules: [shaki]"),
        ("no message an hour", "max_per_hour: 10", "max_per_hour: 0"),
        ("a million messages an hour", "max_per_hour: 10", "max_per_hour: 1000000"),
        ("an andon at no station", "type: andon, station: aoi-1", "type: andon, station: aoi-7"),
        ("an andon that no interlock knows", "parameter: lamp", "parameter: light"),
        ("an andon that cannot show critical", "low: 0, high: 3 }", "low: 0, high: 1 }"),
        ("a stop because of the broker", "alerts:\n", "alerts:\n  - { name: broker, type: broker_away, action: stop_line }\n"),
        ("a broker that is away for seconds", "alerts:\n", "alerts:\n  - { name: broker, type: broker_away, after_ms: 10 }\n"),
        ("a longest pause in minutes", "alerts:\n", "alerts:\n  - { name: away, type: plc_heartbeat, longest_repeat_ms: 60 }\n"),
    ],
    "charts and watches": CHARTS_AND_WATCHES,
}
# fmt: on


def all_mistakes() -> list[Mistake]:
    """Of all kinds."""
    return [mistake for several in MISTAKES.values() for mistake in several]


def mistaken(mistake: Mistake) -> str:
    """The plant file with that mistake."""
    name, good, bad = mistake
    assert GOOD.count(good) == 1, f"{name}: {good!r} stands {GOOD.count(good)} times in good.yaml"
    return GOOD.replace(good, bad)


def messages(folder: Path) -> str:
    """All mistakes as they are shown in `messages.txt`; plant files are written to `folder`. `ENVIRONMENT` must be set."""
    (folder / "left.png").touch()
    found = [
        "What people write in a plant file, and what `linesight check` says. Made by tests/contract/mistaken_plants.py.\n"
    ]
    for kind, several in MISTAKES.items():
        found.append(f"\n=== {kind} ===\n")
        found += [_shown(mistake, folder) for mistake in several]
    return "".join(found)


def complaint(text: str, folder: Path) -> str:
    """What is said about a plant file of that text; empty where nothing is."""
    path = folder / "plant.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_plant(path)
    except ConfigurationError as error:
        return str(error).replace(f"{folder}/", "")
    return ""


def _shown(mistake: Mistake, folder: Path) -> str:
    text = mistaken(mistake)
    edit = list(difflib.unified_diff(GOOD.splitlines(), text.splitlines(), lineterm="", n=0))[2:]
    lines = [line.expandtabs(8) if line[0] == "-" else line for line in edit if not line.startswith("@@")]
    return "\n".join([f"\n# {mistake[0]}", *lines, complaint(text, folder), ""])


def main() -> None:
    """Writes `messages.txt`."""
    import os

    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        MESSAGES.write_text(messages(Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
