"""The classes of the defect classifier, in the order of its outputs."""

DEFECT_CLASSES: tuple[str, ...] = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
"""The six defects of bare boards. DeepPCB numbers them 1 to 6 in this order."""

NONE = "none"
"""A candidate that is no defect: what misplacement, noise or light left in the difference."""

CLASSIFIER_OUTPUTS: tuple[str, ...] = (*DEFECT_CLASSES, NONE)

CLASS_BY_DEEPPCB_TYPE: dict[int, str] = dict(enumerate(DEFECT_CLASSES, start=1))
