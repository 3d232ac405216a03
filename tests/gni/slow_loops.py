"""Every layer written a second time, from its definition, sample by sample; float64, autograd."""

import torch
from torch import Tensor


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance per channel of (n, C, *space)."""
    flat = values.transpose(0, 1).reshape(values.shape[1], -1)
    mean = flat.mean(1)
    return mean, ((flat - mean[:, None]) ** 2).mean(1)


def spread(value: Tensor, x: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (x.dim() - 2))


def ghost_noise(x, ghosts, strength=1.0, *, eps=1e-3, shift=True, scale=True):
    batch_mean, batch_var = (v.detach() for v in moments(x))
    out = []
    for sample, drawn in zip(x, ghosts, strict=True):
        mean, var = (v.detach() for v in moments(torch.stack([x[i] for i in drawn])))
        delta = mean - batch_mean if shift else torch.zeros_like(mean)
        rho = torch.sqrt((var + eps) / (batch_var + eps)) if scale else torch.ones_like(var)
        out.append((sample - strength * spread(delta, x)) / spread(rho, x) ** strength)
    return torch.stack(out)


def batch_norm(x, eps):
    mean, var = moments(x)
    return (x - spread(mean, x)) / torch.sqrt(spread(var, x) + eps)


def affine(x, weight, bias):
    if weight is not None:
        x = x * spread(weight, x)
    return x if bias is None else x + spread(bias, x)


def batch_norm_ghost_noise(x, ghosts, weight, bias, strength, *, eps, noise_eps, shift, scale):
    normal = batch_norm(x, eps)
    noisy = ghost_noise(normal, ghosts, strength, eps=noise_eps, shift=shift, scale=scale)
    return affine(noisy, weight, bias)


def ghost_batch_norm(x, size, weight, bias, *, eps, stop_gradient):
    out = []
    for group in x.split(size):
        mean, var = moments(group.detach() if stop_gradient else group)
        out.append((group - spread(mean, x)) / torch.sqrt(spread(var, x) + eps))
    return affine(torch.cat(out), weight, bias)


def exclusive_batch_norm(x, size, weight, bias, *, eps):
    out = []
    for group in x.split(size):
        for i in range(size):
            mean, var = moments(torch.cat([group[:i], group[i + 1 :]]))
            out.append((group[i] - spread(mean, x)) / torch.sqrt(spread(var, x) + eps))
    return affine(torch.stack(out), weight, bias)


def eval_norm(x, size, running_mean, running_var, affine_pair, *, eps):
    own = 1 / size**2
    out = []
    for sample in x:
        mean, var = moments(sample[None])
        mixed = (1 - own) * running_mean + own * mean
        spread_var = (1 - own) * running_var + own * var
        spread_var = spread_var + own * (1 - own) * (mean - running_mean) ** 2
        out.append((sample - spread(mixed, x)) / torch.sqrt(spread(spread_var, x) + eps))
    return affine(torch.stack(out), *affine_pair)


def running_mean_var(x, size, momentum, running, start):
    """Running statistics after one batch: one step for the average, or one for each group."""
    mean, var = start
    groups = [moments(group) for group in x.split(size)]
    count = size * x[0, 0].numel()
    groups = [(m, v * count / (count - 1)) for m, v in groups]
    if running == "mean":
        groups = [tuple(sum(values) / len(groups) for values in zip(*groups, strict=True))]
    for new_mean, new_var in groups:
        mean = (1 - momentum) * mean + momentum * new_mean
        var = (1 - momentum) * var + momentum * new_var
    return mean, var


def standardise(weight, gain, std, eps, eps_in_variance):
    out = []
    for row in weight:
        mean = row.mean()
        var = ((row - mean) ** 2).sum() / (row.numel() - 1)
        divisor = torch.sqrt(var + eps) if eps_in_variance else torch.sqrt(var) + eps
        out.append((row - mean) / divisor * std)
    return torch.stack([row * g for row, g in zip(out, gain, strict=True)])
