"""Figures and tables in Markdown."""


def digits(value, places):
    text = f"{value:,.{places}f}".replace(",", "\u202f")
    return "0" if text in ("-0", "-0.0", "-0.00") else text.replace("-", "−")


def number(spread, places=1, unit=""):
    """Median, and the range of the rounds."""
    if spread is None:
        return "–"
    if not isinstance(spread, dict):
        spread = {"median": spread, "low": spread, "high": spread}
    text = digits(spread["median"], places)
    if unit:
        text += f" {unit}"
    low, high = digits(spread["low"], places), digits(spread["high"], places)
    return text if low == high else f"{text} ({low}…{high})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
