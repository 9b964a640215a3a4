"""Published tables: what is printed, what it may have been, and what cannot be."""

import sys
from pathlib import Path

import numpy as np
import pytest

from kdn.evaluate import auc, failure_rate

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from check_published_table import PUBLISHED, Printed, Row, check, judge, read_table


def row(nme: str, area: str, *, failure: str | None = None, threshold: float = 7.0) -> Row:
    rarest = None if failure is None else Printed.of(failure, most=100.0)
    return Row("x", Printed.of(nme), Printed.of(area, most=100.0), threshold, rarest)


def test_the_published_table():
    """By the 70-bin rule alone for one row, by none for another; the rest fit both."""
    rows = {row.name: judge(row) for row in read_table(PUBLISHED)}
    assert len(rows) == 8
    odd = {name: verdict for name, verdict in rows.items() if any(verdict.values())}
    assert odd == {
        "Gaussian, 300W-test": {
            "exact": "AUC must be at least 58.214 where the NME is ≤ 2.925",
            "fan70": "",
        },
        "Gaussian, Menpo": {
            "exact": "AUC must be at least 61.786 where the NME is ≤ 2.675",
            "fan70": "AUC must be at least 60.395 where the NME is ≤ 2.675",
        },
    }
    assert all(set(verdict) == {"exact", "fan70"} for verdict in rows.values())
    # 100 (1 − 2.925/7), 100 (1 − 2.675/7) and 100 (69 − 9.99 · 2.675)/70.
    assert (round(100 * 4.075 / 7, 3), round(100 * 4.325 / 7, 3)) == (58.214, 61.786)
    assert round(100 * (69 - 26.72325) / 70, 3) == 60.395


def test_the_command_on_the_published_table(capsys):
    assert check(PUBLISHED) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[:3] == [
        "Gaussian, 300W-test: NME 2.92, AUC@7 57.6",
        "  exact  impossible: AUC must be at least 58.214 where the NME is ≤ 2.925",
        "  fan70  possible",
    ]
    assert lines[-2:] == [
        "8 rows: 6 possible by exact, 7 possible by fan70, 1 by no rule",
        "by no rule: Gaussian, Menpo",
    ]
    assert said.err == ""


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2.92", 2.915, 2.925),
        ("57.6", 57.55, 57.65),
        ("3", 2.5, 3.5),
        ("3.", 2.5, 3.5),
        ("3.0", 2.95, 3.05),
        (".50", 0.495, 0.505),
        ("0.0", 0.0, 0.05),
        ("99.98", 99.975, 99.985),
        ("100.0", 99.95, 100.0),
    ],
)
def test_what_a_printed_number_means(text, low, high):
    got = Printed.of(text, most=100.0)
    assert (got.text, got.low, got.high) == (text, low, high)


@pytest.mark.parametrize("text", ["", "-1", "2,92", "2.9e0", "nan", "1_0", "57.6%", "٣", "."])
def test_what_is_no_printed_number(text):
    with pytest.raises(ValueError, match=r"must be a number such as 2\.92"):
        Printed.of(text)


def test_verdicts_at_the_edge():
    """`exact` needs 58.2857 where the NME is 2.92; rounding gives 2.925 and 58.2143."""
    assert judge(row("2.92", "58.2"))["exact"] == ""  # [58.15, 58.25]
    assert judge(row("2.92", "58.16"))["exact"] != ""  # at most 58.165
    assert judge(row("2.920", "58.2"))["exact"] != ""  # NME at most 2.9205, AUC at least 58.279
    assert judge(row("2.9", "57.6"))["exact"] != ""  # NME at most 2.95, AUC at least 57.86 …
    assert judge(row("2.9", "58"))["exact"] == ""  # … and here at most 58.5
    assert judge(row("3.5", "50.0")) == {"exact": "", "fan70": ""}
    assert judge(row("0.01", "99.0")) == {
        "exact": "AUC must be at least 99.786 where the NME is ≤ 0.015",
        "fan70": "AUC must be at most 98.571",
    }
    assert judge(row("3.0", "40.0", threshold=8.0)) == {
        "exact": "AUC must be at least 61.875 where the NME is ≤ 3.05"
    }


def test_verdicts_with_a_failure_rate():
    """The AUC has no more than those that do not fail, the NME no less than those that do."""
    assert judge(row("5.0", "71.0", failure="30")) == {
        "exact": "AUC must be at most 70.500 where the failure rate is ≥ 29.5",
        "fan70": "AUC must be at most 69.493 where the failure rate is ≥ 29.5",
    }
    assert judge(row("5.0", "70.4", failure="30")) == {
        "exact": "",
        "fan70": "AUC must be at most 69.493 where the failure rate is ≥ 29.5",
    }
    assert judge(row("2.0", "60.0", failure="35.0"))["exact"].startswith("AUC must be at least")
    # AUC and NME fit each other, as do AUC and failure rate, but only by their rounding.
    assert judge(row("2.45", "65", failure="35.40")) == {
        "exact": "NME must be at least 2.478 where the failure rate is ≥ 35.395",
        "fan70": "AUC must be at most 63.682 where the failure rate is ≥ 35.395",
    }
    assert judge(row("30.0", "0.3", failure="40.0")) == {
        "exact": "",
        "fan70": "AUC must be at least 0.856 where the failure rate is ≤ 40.05",
    }


def test_no_row_of_real_errors_is_called_impossible():
    """Whatever the errors and however few the digits, their own rule is possible."""
    rng = np.random.default_rng(3)
    for _ in range(600):
        size, scale = rng.integers(1, 40), rng.choice([0.1, 1.0, 3.0, 10.0])
        errors = scale * rng.gamma(rng.choice([0.5, 4.0]), 1.0, size)
        digits = int(rng.integers(0, 4))
        for rule in ("exact", "fan70"):
            values = errors.mean(), auc(errors, 7, rule=rule), failure_rate(errors, 7, rule=rule)
            nme, area, failure = (f"{value:.{digits}f}" for value in values)
            assert judge(row(nme, area))[rule] == ""
            assert judge(row(nme, area, failure=failure))[rule] == ""


def test_columns_in_any_order_and_rows_that_cannot_be_read(tmp_path, capsys):
    table = tmp_path / "t.csv"
    lines = [
        "\ufeffFailure,AUC , note,Threshold,NME,Method",
        '0.50,60.0,"a, b",8,3.00,A',
        ",68.3,,,2.24,B",
        "",
        ",57.6%,,,2.92,C",
        ",57.6,,,,D",
        ",57.6",
        ",157.6,,,2.92,E",
        ",57.6,,0,2.92,F",
    ]
    table.write_text("\n".join(lines), encoding="utf-8")
    assert check(table, 10.0) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "A: NME 3.00, AUC@8 60.0, failure 0.50",
        "  exact  impossible: AUC must be at least 62.438 where the NME is ≤ 3.005",
        "  fan70  is a rule for AUC@7 only",
        "B: NME 2.24, AUC@10 68.3",
        "  exact  impossible: AUC must be at least 77.550 where the NME is ≤ 2.245",
        "  fan70  is a rule for AUC@7 only",
        "2 rows: 0 possible by exact, 0 possible by fan70, 2 by no rule",
        "by no rule: A",
        "by no rule: B",
    ]
    assert [line.removeprefix(f"left out: {table}:") for line in said.err.splitlines()] == [
        "5: auc must be a number such as 2.92, got '57.6%'",
        "6: nme must be a number such as 2.92, got ''",
        "7: expected 6 cells or more, got 2",
        "8: auc must be at most 100, got '157.6'",
        "9: threshold must be positive, got '0'",
    ]
    with pytest.raises(ValueError, match=r"t.csv:5: auc must be"):
        read_table(table)


def test_a_table_without_fault_has_exit_code_0(tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("method,nme,auc\nLUVLi,2.24,68.3\nSPIGA,2.03,71.0\n")
    assert check(table) == 0
    assert (
        "2 rows: 2 possible by exact, 2 possible by fan70, 0 by no rule" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t.csv:1: column 'method' is missing"),
        (b"method,nme\nA,1\n", "t.csv:1: column 'auc' is missing"),
        (b"method,nme,auc,NME\nA,1,2,3\n", "t.csv:1: column 'nme' stands there 2 times"),
        (b"method,nme,auc\n\n", "t.csv: no rows below the header"),
        (b"\xff\xfe", "t.csv: not a CSV file in UTF-8"),
    ],
)
def test_files_that_are_no_tables(content, said, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        check(tmp_path / "t.csv")


def test_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such file"):
        check(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="threshold must be positive and finite, got 0"):
        check(PUBLISHED, 0.0)
