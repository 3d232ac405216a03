"""The noise at every site of a running model, measured and in closed form."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from gni._discrepancy import train_forward
from gni._moments import Moments, ghost_moments, instance_moments
from gni._noise import draw_by
from gni._noise_layers import GhostNoise
from gni._noise_norms import GhostNoiseBatchNorm
from gni._site import GhostSite
from gni._swap import choose


def closed_form(
    mean_bc: Float[Tensor, "B C"],
    var_bc: Float[Tensor, "B C"],
    ghost_size: int,
    eps: float | Tensor,
) -> dict[str, Float[Tensor, "C"]]:
    """Return the exact moments of ghost noise given the batch, per channel.

    With d the centred instance means, p the instance mean squares about the batch mean, v their
    mean and e = p - v, over N draws with replacement: `delta` has mean 0, `delta²` = E d²/N,
    `delta³` = E d³/N², `delta⁴` = (E d⁴ + 3(N-1)(E d²)²)/N³; the ghost variance `V` = v - E d²/N
    with `var V` = E e²/N + delta⁴ - delta²² - 2 E(d²e)/N² and `cov(delta, V)` = E(de)/N - E d³/N².
    """
    n = ghost_size
    d = mean_bc - mean_bc.mean(0)
    p = var_bc + d.square()
    v = p.mean(0)
    e = p - v
    d2, d4 = d.square().mean(0), d.pow(4).mean(0)
    fourth = (d4 + 3 * (n - 1) * d2.square()) / n**3
    mixed = (d.square() * e).mean(0) / n**2
    var = e.square().mean(0) / n + fourth - (d2 / n).square() - 2 * mixed
    return {
        "delta": torch.zeros_like(v),
        "delta²": d2 / n,
        "delta³": d.pow(3).mean(0) / n**2,
        "delta⁴": fourth,
        "V": v - d2 / n,
        "var V": var,
        "cov(delta, V)": (d * e).mean(0) / n - d.pow(3).mean(0) / n**2,
        "rho²": (v - d2 / n + eps) / (v + eps),
        "var rho²": var / (v + eps).square(),
    }


@dataclass(frozen=True)
class SiteNoise:
    """The noise at one site, averaged over channels.

    Each quantity three times: measured over draws, by the closed form given the batch, and in the
    analytic form, as if an instance were one normal value (shift variance 1/N, rho² a χ²/N). The
    closed form is that of draws with replacement; NaN for a site that draws groups.
    """

    site: str
    ghost_size: int
    strength: float
    shift_var: float
    shift_var_closed: float
    shift_var_analytic: float
    rho2: float
    rho2_closed: float
    rho2_analytic: float
    rho2_var: float
    rho2_var_closed: float
    rho2_var_analytic: float
    effect: float
    """Mean square of y - x, in units of the input's variance."""
    effect_first_order: float
    """s²·(Var shift + Var rho²/4), both by the closed form; of what the site does alone, where its
    `shift` or `scale` is off."""


def measure_noise(
    model: nn.Module, inputs: Tensor, *, draws: int = 32, generator: Generator | None = None
) -> list[SiteNoise]:
    """Run one training forward without gradients and measure the noise at every ghost noise site.

    Running statistics are put back afterwards, as is the model's mode. Statistics of each site are
    those of `draws` fresh draws for the batch that reaches it, all in float64.

    Args:
        model: with `GhostNoise` or `GhostNoiseBatchNorm` sites.
        inputs: a batch for the model.
        draws: how often to draw; the relative error of a variance is about √(2/(draws·B)).
        generator: source of these draws; those of the forward are the sites' own.

    Raises:
        ValueError: a model without ghost noise sites.
    """
    rows: list[SiteNoise] = []
    names = {m: n for n, m in choose(model, lambda m: isinstance(m, GhostSite), None)}
    if not names:
        raise ValueError("the model has no ghost noise sites; add some with add_ghost_noise")

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(module, GhostSite)
        rows.append(_measure_site(names[module], module, args[0], draws, generator))

    handles = [module.register_forward_pre_hook(look) for module in names]
    try:
        with torch.no_grad():
            train_forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return rows


def _measure_site(
    name: str, site: GhostSite, x: Tensor, draws: int, generator: Generator | None
) -> SiteNoise:
    hatted, eps = _normalised(site, x)
    n, s = site.size(), float(site.strength)
    closed = {key: float(value.mean()) for key, value in closed_form(*hatted, n, eps).items()}
    if site.sampling != "replacement":  # it is that of draws with replacement
        closed = dict.fromkeys(closed, math.nan)
    tables = [
        draw_by(site.sampling, len(x), n, generator=generator, device=x.device)
        for _ in range(draws)
    ]
    shift, scale = (getattr(site, name, True) for name in ("shift", "scale"))
    shift_var, rho2, rho2_var, effect = _simulate(hatted, tables, eps, s, shift, scale)
    return SiteNoise(
        site=name,
        ghost_size=n,
        strength=s,
        shift_var=shift_var,
        shift_var_closed=closed["delta²"],
        shift_var_analytic=1 / n,
        rho2=rho2,
        rho2_closed=closed["rho²"],
        rho2_analytic=(n - 1) / n,
        rho2_var=rho2_var,
        rho2_var_closed=closed["var rho²"],
        rho2_var_analytic=2 * (n - 1) / n**2,
        effect=effect,
        effect_first_order=s**2 * (shift * closed["delta²"] + scale * closed["var rho²"] / 4),
    )


def _normalised(site: GhostSite, x: Tensor) -> tuple[Moments, float | Tensor]:
    """Return the instance moments of live channels on the scale of the batch, and eps on it."""
    channel_dim = site.channel_dim if isinstance(site, GhostNoise) else 1
    mean_bc, var_bc = instance_moments(x.detach().double(), channel_dim)
    unit_c = (var_bc + (mean_bc - mean_bc.mean(0)).square()).mean(0)
    live = unit_c > 1e-12 * unit_c.max()
    std_c = unit_c[live].sqrt()
    hatted = Moments(mean_bc[:, live] / std_c, var_bc[:, live] / std_c.square())
    # A batch norm adds its noise on the normalised scale, a plain site on that of its input.
    if isinstance(site, GhostNoiseBatchNorm):
        return hatted, site.noise_eps
    return hatted, getattr(site, "eps", 0.0) / unit_c[live]


def _simulate(  # noqa: PLR0917
    hatted: Moments,
    tables: list[Tensor],
    eps: float | Tensor,
    strength: float,
    shifts: bool,
    scales: bool,
) -> tuple[float, float, float, float]:
    """Return Var delta, E rho², Var rho² and the mean square of y - x, averaged over channels."""
    mean_bc, var_bc = hatted
    centred_bc = mean_bc - mean_bc.mean(0)
    square_bc = var_bc + centred_bc.square()
    shift: list[Tensor] = []
    rho2: list[Tensor] = []
    effect: list[Tensor] = []
    for ghosts in tables:
        ghost = ghost_moments(mean_bc, var_bc, ghosts)
        ratio = (ghost.var + eps) / (ghost.batch.var + eps)
        gain = ratio.pow(-strength / 2) if scales else torch.ones_like(ratio)
        move = strength * ghost.delta * gain if shifts else torch.zeros_like(gain)
        change = square_bc * (gain - 1).square() - 2 * centred_bc * (gain - 1) * move
        shift.append(ghost.delta)
        rho2.append(ratio)
        effect.append(change + move.square())
    all_rho2 = torch.cat(rho2)
    shift_var = float(torch.cat(shift).square().mean())
    rho2_var = float(all_rho2.var(0, correction=0).mean())
    return shift_var, float(all_rho2.mean()), rho2_var, float(torch.cat(effect).mean())
