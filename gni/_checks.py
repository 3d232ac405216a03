"""What bad input gets: the rule, the value, the remedy."""

import math

from torch import Tensor


def check_ghost_size(value: object, least: int = 1) -> int:
    """Return `value` as an int, or raise ValueError unless it is a whole number >= `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(
            f"ghost_size must be a whole number >= {least}, got {value!r}; pass an int such as 16"
        )
    size = int(value.__index__())  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    if size < least:
        raise ValueError(
            f"ghost_size must be >= {least}, got {size}; a smaller ghost has no statistics to give"
        )
    return size


def check_strength(value: object) -> None:
    """Raise ValueError unless `value` is a finite number >= 0 or a 0-dim floating tensor.

    A tensor's value is not looked at: that would make the host wait for the device.
    """
    if isinstance(value, Tensor):
        if value.dim() != 0 or not value.is_floating_point():
            raise ValueError(
                f"strength as a tensor must be 0-dim and floating, got shape {tuple(value.shape)} "
                f"of {value.dtype}; pass one number, and use torch.func.vmap for several"
            )
        return
    if not _is_size(value):
        raise ValueError(f"strength must be a finite number >= 0, got {value!r}; 0 means no noise")


def check_eps(value: object, name: str = "eps") -> None:
    """Raise ValueError unless `value`, the argument `name`, is a finite number >= 0.

    At 0 a channel that does not vary is 0/0.
    """
    if not _is_size(value):
        raise ValueError(
            f"{name} must be a finite number >= 0, got {value!r}; it is added to variances, and "
            "1e-5 to 1e-3 is usual"
        )


def _is_size(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0


def check_batch(batch: int) -> None:
    """Raise ValueError for a training batch in which a ghost is the whole batch."""
    if batch < 2:
        raise ValueError(
            f"ghost noise in training needs a batch of at least 2 samples, got {batch}; "
            "drop the last partial batch or call .eval()"
        )


def check_group_size(batch: int, ghost_size: int) -> None:
    """Raise ValueError unless groups of `ghost_size` fill the batch exactly."""
    if batch == 0:
        raise ValueError("a training batch needs samples, got 0; leave it out or call .eval()")
    if batch % ghost_size:
        raise ValueError(
            f"the ghost size must divide the training batch, got ghost size {ghost_size} and batch "
            f"{batch}; drop the last partial batch or choose a divisor of {batch}"
        )


def check_floating(x: Tensor) -> None:
    """Raise ValueError for whole or complex numbers."""
    if not x.is_floating_point():
        raise ValueError(f"an activation of floating dtype is needed, got {x.dtype}; call .float()")


def check_input(x: Tensor, channel_dim: int) -> None:
    """Raise ValueError unless `x` is (B, C, *space), with its channels at `channel_dim`."""
    check_floating(x)
    if x.dim() < 2:
        raise ValueError(
            f"noise needs (batch, channels, ...), got shape {tuple(x.shape)}; unsqueeze it"
        )
    if not -x.dim() < channel_dim < x.dim() or channel_dim == 0:
        raise ValueError(
            f"channel_dim must name a dim of the input other than the batch, got {channel_dim} for "
            f"shape {tuple(x.shape)}; 1 and -1 are usual"
        )


def check_channels(x: Tensor, *values_c: Tensor | None) -> None:
    """Raise ValueError unless `x` is floating, and each of `values_c` has a value a channel."""
    check_floating(x)
    for value in values_c:
        if value is not None and value.shape != x.shape[1:2]:
            raise ValueError(
                f"the layer has {len(value)} channels and the input {x.shape[1]}, of shape "
                f"{tuple(x.shape)}; channels are dim 1, build the layer for {x.shape[1]}"
            )
