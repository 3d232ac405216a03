"""Look at the noise that a running model makes, and at what normalisation does to it in eval.

Variances are in units of the input's batch variance, so sites and models can be compared.
"""

from dataclasses import fields
from pathlib import Path

from gni._discrepancy import Gap, discrepancies, discrepancy
from gni._measure import SiteNoise, closed_form, measure_noise

__all__ = [
    "Gap",
    "SiteNoise",
    "closed_form",
    "discrepancies",
    "discrepancy",
    "figure",
    "measure_noise",
    "table",
]


def table(rows: list[SiteNoise] | list[Gap]) -> str:
    """Return the rows as a Markdown table."""
    if not rows:
        raise ValueError("a table needs at least one row, got none; measure something first")
    names = [field.name for field in fields(rows[0])]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        values = (getattr(row, name) for name in names)
        lines.append([f"{v:.4g}" if isinstance(v, float) else str(v) for v in values])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(rows: list[SiteNoise], path: Path | str) -> None:
    """Draw the variances of shift and scale and the effect, site by site, and save the picture.

    Needs matplotlib. Dots are measured, lines the closed form, dashes the analytic form.
    """
    from matplotlib.figure import Figure

    panels = {
        "shift_var": "variance of the shift",
        "rho2_var": "variance of rho²",
        "effect": "mean square of y - x",
    }
    picture = Figure(figsize=(11, 3.4), layout="constrained")
    axes = picture.subplots(1, 3)
    sites = range(len(rows))
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        line = "first_order" if name == "effect" else "closed"
        predicted = [getattr(row, f"{name}_{line}") for row in rows]
        axis.plot(sites, predicted, label=line.replace("_", " "))
        if name != "effect":
            analytic = [getattr(row, f"{name}_analytic") for row in rows]
            axis.plot(sites, analytic, "--", label="analytic")
        axis.plot(sites, [getattr(row, name) for row in rows], "o", label="measured")
        axis.set(title=title, xlabel="site", yscale="log")
        axis.set_xticks(sites, [row.site for row in rows])
        axis.legend()
    picture.savefig(str(path))  # pyright: ignore[reportUnknownMemberType]
