"""The fixed lists of reasons. A reason is a label value on counters, so every list is closed and short."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class RefusalReason(StrEnum):
    """Why a message can never succeed. It becomes a dead letter, a counter and, for a frame, its inspection."""

    UNKNOWN_SCHEMA = "unknown_schema"
    UNKNOWN_VERSION = "unknown_version"
    TRUNCATED = "truncated"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    UNDECODABLE_IMAGE = "undecodable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    SIZE_MISMATCH = "size_mismatch"
    OBJECT_MISSING = "object_missing"
    UNKNOWN_CAMERA = "unknown_camera"
    UNKNOWN_STATION = "unknown_station"
    UNKNOWN_RECIPE = "unknown_recipe"
    UNKNOWN_PART = "unknown_part"
    UNKNOWN_ASSET = "unknown_asset"
    MISSING_REFERENCE = "missing_reference"
    NOT_ALIGNED = "not_aligned"
    UNEXPLAINED_DIFFERENCE = "unexplained_difference"
    RECIPE_LACKING = "recipe_lacking"
    MODEL_FAILED = "model_failed"
    INSPECTION_FAILED = "inspection_failed"
    RECEIVER_REFUSED = "receiver_refused"


class DropReason(StrEnum):
    """Why a frame was dropped by a rule, not refused: by the spool, the gateway or the recipe."""

    CAPTURE_FAILED = "capture_failed"
    REPEATED_PICTURE = "repeated_picture"
    BROKER_AWAY = "broker_away"
    SPOOL_FULL = "spool_full"
    SPOOL_EXPIRED = "spool_expired"
    EXPIRED = "expired"
    DEFERRED = "deferred"


class FrameOutcome(StrEnum):
    """How a frame ended."""

    INSPECTED = "inspected"
    DROPPED = "dropped"


class VerdictValue(StrEnum):
    """The OPC UA Machinery vocabulary for a result."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"


class VerdictReason(StrEnum):
    """Why a part did not get OK, or what was noticed on the way."""

    DEFECT = "defect"
    DEADLINE = "deadline"
    MISSING_VIEW = "missing_view"
    VIEW_DROPPED = "view_dropped"
    UNKNOWN_RECIPE = "unknown_recipe"
    REVIEW = "review"


class FailSafe(StrEnum):
    """What the plant does with a part that has no OK or NOT_OK."""

    REJECT = "reject"
    PASS = "pass"
    STOP_LINE = "stop_line"


class CommandKind(StrEnum):
    """What is asked of the PLC."""

    VERDICT = "verdict"
    REJECT = "reject"
    STOP_LINE = "stop_line"
    SPEED = "speed"
    PARAMETER = "parameter"


class CommandOutcome(StrEnum):
    """What became of a command. Only `acknowledged` means that the machine took it."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED_UNKNOWN_PART = "refused_unknown_part"
    REFUSED_EXPIRED = "refused_expired"
    REFUSED_STATE = "refused_state"
    REFUSED_INVALID = "refused_invalid"
    EXPIRED = "expired"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    OBSERVED = "observed"
    DRY_RUN = "dry_run"
    INTERLOCKED = "interlocked"
    SWITCHED_OFF = "switched_off"
    PART_LEFT = "part_left"


class PlcAnswer(StrEnum):
    """What stands in the result node of a PLC's mailbox. Wire values are the PLC's integer codes in `PLC_CODES`."""

    ACCEPTED = "accepted"
    UNKNOWN_PART = "unknown_part"
    EXPIRED = "expired"
    WRONG_STATE = "wrong_state"
    INVALID = "invalid"


class HandshakeCode(IntEnum):
    """What stands in a station's ErrorCode: 1 to 9 while TriggerReady is false, 20 and above until the PLC resets it."""

    NONE = 0
    STARTING = 1
    BROKER_AWAY = 2
    CAMERAS_AWAY = 3
    INSPECT_AWAY = 4
    JUDGE_AWAY = 5
    UNKNOWN_RECIPE = 6
    RECIPE_LACKING = 7
    EARLY_TRIGGER = 20
    LOST_TRIGGER = 21
    DOUBLE_TRIGGER = 22
    RESULT_NOT_TAKEN = 23


PLC_CODES: dict[int, PlcAnswer] = {
    1: PlcAnswer.ACCEPTED,
    2: PlcAnswer.UNKNOWN_PART,
    3: PlcAnswer.EXPIRED,
    4: PlcAnswer.WRONG_STATE,
    5: PlcAnswer.INVALID,
}
"""Integer result codes of the mailbox contract (docs/connect-a-station.md)."""
