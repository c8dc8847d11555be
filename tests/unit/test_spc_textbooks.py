"""Control charts equal published examples to the digits that are printed there. docs/statistics.md lists the sources."""

from __future__ import annotations

import pytest

from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.control_constants import control_constants
from processors.spc.cusum import Cusum
from processors.spc.dispersion import phase_one
from processors.spc.ewma import Ewma
from processors.spc.measurement_charts import individuals, xbar_r, xbar_s

# NIST/SEMATECH e-Handbook 6.3.2.4, EWMA: data and the 20 values as printed.
NIST_EWMA = (
    *(52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5),
    *(49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1),
)
NIST_EWMA_VALUES = (
    *(50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33),
    *(50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99),
)
# Montgomery, Introduction to Statistical Quality Control, table 9.1, and the upper sums of periods 1 to 29 of table 9.2.
MONTGOMERY_9_1 = (
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08),
    *(9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
)
MONTGOMERY_9_2 = (
    *(0.0, 0.0, 0.0, 1.16, 2.82, 2.50, 0.04, 1.00, 0.0, 0.0, 0.0, 0.97, 0.98, 0.0, 0.0),
    *(0.0, 0.12, 0.0, 0.0, 0.34, 0.74, 0.0, 1.79, 2.79, 2.89, 3.47, 3.35, 4.47, 5.28),
)
# NIST/SEMATECH e-Handbook 6.3.3.1: defects on 25 wafers. 6.3.3.2: misregistrations on 30 wafers of 50 chips.
NIST_WAFERS = (16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13)
NIST_CHIPS = (
    *(12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22),
    *(8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6),
)
# Montgomery, 2nd edition: nonconformities in 26 samples of 100 circuit boards (data set `circuit` of the R package qcc).
MONTGOMERY_BOARDS = (
    *(21, 24, 16, 12, 15, 5, 28, 20, 31, 25, 20, 24, 16),
    *(19, 10, 17, 13, 22, 18, 39, 30, 24, 16, 19, 17, 15),
)
# Montgomery, table 6.1: flow width of resist in the hard bake process, 25 samples of 5 wafers, micrometres.
HARD_BAKE = (
    (1.3235, 1.4128, 1.6744, 1.4573, 1.6914),
    (1.4314, 1.3592, 1.6075, 1.4666, 1.6109),
    (1.4284, 1.4871, 1.4932, 1.4324, 1.5674),
    (1.5028, 1.6352, 1.3841, 1.2831, 1.5507),
    (1.5604, 1.2735, 1.5265, 1.4363, 1.6441),
    (1.5955, 1.5451, 1.3574, 1.3281, 1.4198),
    (1.6274, 1.5064, 1.8366, 1.4177, 1.5144),
    (1.4190, 1.4303, 1.6637, 1.6067, 1.5519),
    (1.3884, 1.7277, 1.5355, 1.5176, 1.3688),
    (1.4039, 1.6697, 1.5089, 1.4627, 1.5220),
    (1.4158, 1.7667, 1.4278, 1.5928, 1.4181),
    (1.5821, 1.3355, 1.5777, 1.3908, 1.7559),
    (1.2856, 1.4106, 1.4447, 1.6398, 1.1928),
    (1.4951, 1.4036, 1.5893, 1.6458, 1.4969),
    (1.3589, 1.2863, 1.5996, 1.2497, 1.5471),
    (1.5747, 1.5301, 1.5171, 1.1839, 1.8662),
    (1.3680, 1.7269, 1.3957, 1.5014, 1.4449),
    (1.4163, 1.3864, 1.3057, 1.6210, 1.5573),
    (1.5796, 1.4185, 1.6541, 1.5116, 1.7247),
    (1.7106, 1.4412, 1.2361, 1.3820, 1.7601),
    (1.4371, 1.5051, 1.3485, 1.5670, 1.4880),
    (1.4738, 1.5936, 1.6583, 1.4973, 1.4720),
    (1.5917, 1.4333, 1.5551, 1.5295, 1.6866),
    (1.6399, 1.5243, 1.5705, 1.5563, 1.5530),
    (1.5797, 1.3663, 1.6240, 1.3732, 1.6887),
)
# Montgomery, 2nd edition, pp. 206-213: inside diameters of piston rings, thousandths of a mm above 74 (the 25 trial samples of the data set
# `pistonrings` of the R package qcc; sample 21 differs in later editions).
PISTON_RINGS = (
    (30, 2, 19, -8, 8), (-5, -8, 1, 11, 4), (-12, 24, 21, 5, 2), (2, -4, -7, 15, 9), (-8, 7, 15, -11, 14),
    (9, -6, -3, -15, -7), (-5, 6, -6, 0, 5), (-15, 3, -7, 15, -12), (8, -5, 9, 5, 4), (-2, 0, -10, 7, -5),
    (-6, -2, -6, -5, -10), (4, 0, 7, 0, -4), (-17, 2, -2, -3, 12), (6, -33, -6, 0, -16), (12, 14, -2, -1, 7),
    (0, -16, 5, -2, -4), (-6, 12, -14, 5, 7), (6, 10, 18, 3, 0), (-16, 2, 3, 5, -3), (0, 10, 13, 20, 3),
    (-12, 1, 9, 5, -4), (4, -1, -10, 6, 9), (10, -11, -10, 9, 14), (15, 8, -7, 0, 10), (-18, -16, -5, 17, 13),
)  # fmt: skip
# Monthly counts of defectives, `SPC_P.csv` of the tests of JASP's quality control module (size, count).
JASP_DEFECTIVES = (
    (150, 21), (153, 16), (170, 30), (226, 31), (154, 24), (130, 33), (190, 32), (165, 29), (176, 23), (144, 17),
    (132, 14), (144, 31), (156, 29), (158, 25), (142, 15), (212, 43), (155, 20), (138, 26), (141, 23), (130, 28),
)  # fmt: skip


def test_ewma_of_the_nist_handbook() -> None:
    chart = Ewma(target=50, sigma=2.0539, weight=0.3, width=3)
    points = [chart.add(value) for value in NIST_EWMA]
    assert tuple(round(point.value, 2) for point in points) == NIST_EWMA_VALUES
    # Printed: 50 +- 3 (0.4201) (2.0539) = 52.5884 and 47.4115, with the factor cut at four digits.
    assert (round(points[0].upper, 3), round(points[0].lower, 3)) == (52.588, 47.412)
    assert not any(point.outside for point in points)


def test_cusum_of_montgomery() -> None:
    chart = Cusum(target=10, sigma=1, reference=0.5, interval=5)
    points = [chart.add(value) for value in MONTGOMERY_9_1]
    assert tuple(round(point.upper, 2) for point in points[:29]) == MONTGOMERY_9_2
    # "the upper-side cusum at period 29 is 5.28 > 5": the first signal, seven periods after the sum was last zero.
    assert [number for number, point in enumerate(points, 1) if point.outside] == [29, 30]
    assert points[28].upper_since == 7


def test_c_chart_of_the_nist_wafers() -> None:
    limits, _ = phase_one(chart=AttributeChart.C, counts=NIST_WAFERS, sizes=[1] * 25)
    lower, upper = limits.normal_limits(1)
    assert (limits.rate, round(lower), round(upper)) == (16, 4, 28)  # c-bar = 400 / 25 = 16, limits 28 and 4
    assert [count for count in NIST_WAFERS if not lower <= count <= upper] == [31]


def test_p_chart_of_the_nist_chips() -> None:
    limits, dispersion = phase_one(chart=AttributeChart.P, counts=NIST_CHIPS, sizes=[50] * 30)
    lower, upper = _plain(limits).normal_limits(50)
    # Samples 15 and 23 are out of control (Montgomery, the same data: orange juice cans); the rest wanders too.
    exact = _plain(limits)
    assert [n for n, count in enumerate(NIST_CHIPS, 1) if _outside(exact, count, 50)] == [15, 23]
    assert (dispersion.outside_exact, dispersion.overdispersed) == (2, True)
    assert (round(limits.rate, 4), round(lower, 4), round(upper, 4)) == (0.2313, 0.0524, 0.4102)


def test_c_chart_of_montgomerys_circuit_boards() -> None:
    limits, dispersion = phase_one(chart=AttributeChart.C, counts=MONTGOMERY_BOARDS, sizes=[1] * 26)
    lower, upper = _plain(limits).normal_limits(1)
    # Montgomery: c-bar = 516/26 = 19.85, UCL = 33.22, LCL = 6.48, from the rounded mean; qcc: 19.84615, 33.21086, 6.481447.
    assert (round(limits.rate, 5), round(upper, 2), round(lower, 2)) == (19.84615, 33.21, 6.48)
    # Samples 6 and 20 are out of control in the book, with causes found. They are no overdispersion: the rest is calm.
    assert [n for n, count in enumerate(MONTGOMERY_BOARDS, 1) if _outside(limits, count, 1)] == [6, 20]
    assert dispersion.p_value is not None
    assert dispersion.p_value < 0.01
    assert (dispersion.outside_exact, dispersion.overdispersed, limits.sigma_z) == (2, False, None)


def test_individuals_chart_of_the_nist_flow_rates() -> None:
    limits = individuals((49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1))
    assert round(limits.spread.centre, 4) == 1.8778
    assert [round(value, 4) for value in limits.location] == [50.81, 45.8159, 55.8041]


def test_xbar_and_r_charts_of_montgomerys_hard_bake() -> None:
    limits = xbar_r(HARD_BAKE)
    assert (round(limits.location.centre, 4), round(limits.spread.centre, 5)) == (1.5056, 0.32521)
    # Printed: 1.5056 +- 0.577 (0.32521) = 1.69325 and 1.31795, 2.114 (0.32521) = 0.68749, all from the rounded means.
    assert limits.location.upper == pytest.approx(1.69325, abs=5e-5)
    assert limits.location.lower == pytest.approx(1.31795, abs=5e-5)
    assert (round(limits.spread.upper, 4), limits.spread.lower) == (0.6875, 0.0)
    assert round(limits.sigma, 4) == 0.1398  # R-bar / d2 = 0.32521 / 2.326


def test_xbar_and_s_charts_of_montgomerys_piston_rings() -> None:
    limits = xbar_s([[74 + each / 1000 for each in group] for group in PISTON_RINGS])
    # As the tests of mistat-python hold them against R's qcc, type "S": centre 0.009240037, standard deviation 0.009829977, upper limit
    # 0.019302416; the mean of the means is 74.00118. Ours are with the factors of the table, rounded.
    assert (round(limits.location.centre, 5), round(limits.spread.centre, 9)) == (74.00118, 0.009240037)
    assert limits.sigma == pytest.approx(0.009829977, rel=1e-4)
    assert limits.spread.upper == pytest.approx(0.019302416, rel=1e-4)
    assert limits.spread.lower == 0.0
    assert limits.location.upper - limits.location.centre == pytest.approx(3 * 0.009829977 / 5**0.5, rel=5e-4)


@pytest.mark.parametrize(("size", "centre", "upper"), [(15, 2.64706, 7.076435), (20, 3.529412, 8.6440153)])
def test_np_chart_of_avevas_manual(size: int, centre: float, upper: float) -> None:
    # AVEVA Manufacturing Execution System 7.0, "np Chart": p-bar 0.17647 (3 of 17), lower limits 0.
    limits = AttributeLimits(chart=AttributeChart.NP, rate=3 / 17)
    low, high = (limit * size for limit in limits.normal_limits(size))
    point = limits.point(count=2, size=size)
    assert point is not None
    assert (low, point.centre, high) == (0.0, pytest.approx(centre, abs=5e-6), pytest.approx(upper, abs=2e-6))


@pytest.mark.parametrize(
    ("size", "lower", "upper"), [(15, 0.0, 1.127863), (9, 0.0, 1.295367), (20, 0.053734, 1.050744)]
)
def test_u_chart_of_avevas_manual(size: int, lower: float, upper: float) -> None:
    # AVEVA Manufacturing Execution System 7.0, "u Chart": u-bar 0.552239 (37 defects in 67 units).
    limits = AttributeLimits(chart=AttributeChart.U, rate=37 / 67)
    assert [round(limit, 6) for limit in limits.normal_limits(size)] == [lower, upper]


@pytest.mark.parametrize("kind", [AttributeChart.P, AttributeChart.U])
def test_laneys_charts_of_jasp(kind: AttributeChart) -> None:
    # JASP's reference figures (laney-p-chart.svg, laney-u-chart.svg, of the same counts): centre 0.1611; limits as they are drawn in both,
    # y = 487.89 is 0, 170.08 is 0.3; of the samples of 150, 226 and 130 parts. Equal to the four digits that they print. They draw the same
    # limits: sigma_z divides by what the limits multiply with, and u - p differ in a factor that does not depend on the size.
    sizes, counts = zip(*JASP_DEFECTIVES, strict=True)
    _, dispersion = phase_one(chart=kind, counts=counts, sizes=sizes)
    assert dispersion.sigma_z is not None
    limits = AttributeLimits(chart=kind, rate=sum(counts) / sum(sizes), sigma_z=dispersion.sigma_z)
    assert round(limits.rate, 4) == 0.1611
    for size, lower_px, upper_px in ((150, 458.49, 175.99), (226, 432.32, 202.17), (130, 468.97, 165.51)):
        drawn = [(487.89 - y) / (487.89 - 170.08) * 0.3 for y in (lower_px, upper_px)]
        assert limits.normal_limits(size) == pytest.approx(drawn, abs=5e-5)


@pytest.mark.parametrize(
    ("size", "factors"),
    [
        # c4, d2, d3, A2, A3, B3, B4, D3, D4 of Montgomery, appendix VI.
        (2, (0.7979, 1.128, 0.853, 1.880, 2.659, 0, 3.267, 0, 3.267)),
        (5, (0.9400, 2.326, 0.864, 0.577, 1.427, 0, 2.089, 0, 2.114)),
        (10, (0.9727, 3.078, 0.797, 0.308, 0.975, 0.284, 1.716, 0.223, 1.777)),
        (25, (0.9896, 3.931, 0.708, 0.153, 0.606, 0.565, 1.435, 0.459, 1.541)),
    ],
)
def test_constants_of_the_published_table(size: int, factors: tuple[float, ...]) -> None:
    assert tuple(control_constants(size)) == factors


def _outside(limits: AttributeLimits, count: int, size: int) -> bool:
    point = limits.point(count=count, size=size)
    return point is not None and point.outside


def _plain(limits: AttributeLimits) -> AttributeLimits:
    return AttributeLimits(chart=limits.chart, rate=limits.rate, confidence=limits.confidence)
