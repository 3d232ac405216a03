"""Look at the noise that a running model makes, and at what normalisation does to it in eval.

Variances are in units of the input's batch variance, so sites and models can be compared.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from gni._moments import Moments, ghost_moments, instance_moments
from gni._noise import draw_by
from gni._site import GhostSite
from gni._swap import choose
from gni.layers import GhostNoise, GhostNoiseBatchNorm
from gni.surgery import add_ghost_noise, replace_batchnorm

Kind = Literal["batch", "ghost", "exclusive", "noise"]


def closed_form(
    mean_bc: Float[Tensor, "B C"], var_bc: Float[Tensor, "B C"], ghost_size: int, eps: float | int
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
    analytic form, as if an instance were one normal value (shift variance 1/N, rho² a χ²/N).
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
    """s²·(Var shift + Var rho²/4), both by the closed form."""


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
            _train_forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return rows


def _measure_site(
    name: str, site: GhostSite, x: Tensor, draws: int, generator: Generator | None
) -> SiteNoise:
    channel_dim = site.channel_dim if isinstance(site, GhostNoise) else 1
    mean_bc, var_bc = instance_moments(x.detach().double(), channel_dim)
    unit_c = (var_bc + (mean_bc - mean_bc.mean(0)).square()).mean(0)
    eps = site.noise_eps if isinstance(site, GhostNoiseBatchNorm) else getattr(site, "eps", 0.0)
    live = unit_c > 1e-12 * unit_c.max()
    std_c = unit_c[live].sqrt()
    # A batch norm adds its noise on the normalised scale, a plain site on that of its input.
    scale = 1.0 if isinstance(site, GhostNoiseBatchNorm) else float(unit_c.mean())
    eps_hat = eps / scale
    hatted = Moments(mean_bc[:, live] / std_c, var_bc[:, live] / std_c.square())
    n, s = site.size(), float(site.strength)
    exact = closed_form(*hatted, n, eps_hat)
    tables = [
        draw_by(site.sampling, len(x), n, generator=generator, device=x.device)
        for _ in range(draws)
    ]
    shift_var, rho2, rho2_var, effect = _simulate(hatted, tables, eps_hat, s)
    closed = {key: float(value.mean()) for key, value in exact.items()}
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
        effect_first_order=s**2 * (closed["delta²"] + closed["var rho²"] / 4),
    )


def _simulate(
    hatted: Moments, tables: list[Tensor], eps: float | int, strength: float
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
        gain = ratio.pow(-strength / 2)
        move = strength * ghost.delta * gain
        change = square_bc * (gain - 1).square() - 2 * centred_bc * (gain - 1) * move
        shift.append(ghost.delta)
        rho2.append(ratio)
        effect.append(change + move.square())
    all_rho2 = torch.cat(rho2)
    shift_var = float(torch.cat(shift).square().mean())
    rho2_var = float(all_rho2.var(0, correction=0).mean())
    return shift_var, float(all_rho2.mean()), rho2_var, float(torch.cat(effect).mean())


def _train_forward(model: nn.Module, inputs: Tensor) -> Any:
    """Run the model in training mode, then put its buffers and modes back."""
    modes = {module: module.training for module in model.modules()}
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        return model.train()(inputs)
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])


@dataclass(frozen=True)
class Gap:
    """Loss and accuracy on the same images by training's statistics and by eval's."""

    kind: str
    ghost_size: int
    train_loss: float
    eval_loss: float
    train_accuracy: float
    eval_accuracy: float


def discrepancy(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    kind: str = "",
    ghost_size: int = 0,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> Gap:
    """Compare training-mode and eval-mode statistics on the same images, without gradients.

    Dropout and other noise act in training mode as they do in training; running statistics and the
    mode of the model are left as they were. `loss` must average over a batch.
    """
    sums = [0.0, 0.0, 0.0, 0.0]
    count = 0
    training = model.training
    with torch.no_grad():
        for images, labels in batches:
            outputs = (_train_forward(model, images), model.eval()(images))
            model.train(training)
            for i, logits in enumerate(outputs):
                sums[i] += float(loss(logits, labels)) * len(labels)
                sums[i + 2] += float((logits.argmax(1) == labels).sum())
            count += len(labels)
    if count == 0:
        raise ValueError("discrepancy needs at least one batch, got none")
    return Gap(kind, ghost_size, *(value / count for value in sums))


def discrepancies(
    model: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    ghost_sizes: Iterable[int],
    *,
    kinds: Iterable[Kind] = ("batch", "ghost", "exclusive", "noise"),
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> list[Gap]:
    """Put each kind of norm at each ghost size into a copy of a batch norm model and compare.

    All see the same weights and running statistics: what differs is what training's statistics
    would make of them. "batch" is measured once, with ghost size 0.
    """
    rows: list[Gap] = []
    for kind in kinds:
        for size in [0] if kind == "batch" else ghost_sizes:
            changed = copy.deepcopy(model)
            if kind == "noise":
                add_ghost_noise(changed, size)
            elif kind != "batch":
                replace_batchnorm(changed, size, kind=kind)
            rows.append(discrepancy(changed, batches, kind=kind, ghost_size=size, loss=loss))
    return rows


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
