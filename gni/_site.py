"""What modules that draw noise share: generator, size, strength, a held draw."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from gni._checks import check_ghost_size, check_strength
from gni._moments import Ghosts, ghost_weights
from gni._noise import Sampling, Strength, draw_by


class Drawn(nn.Module):
    """A module that draws random numbers in training.

    Attributes:
        generator: source of the draws; None means torch's default generator of the input's device.
            It belongs to the training run, not to the module: copies and pickles are made without
            it. torch.compile and torch.utils.checkpoint cannot repeat what was drawn from it and
            need None (or a held draw, see `GhostSite`).
    """

    generator: Generator | None = None

    def source(self) -> Generator | None:
        """Return the generator to draw from."""
        if self.generator is None:
            return None
        if torch.compiler.is_compiling():
            raise ValueError(
                "torch.compile cannot draw from an explicit generator; "
                "set_generator(model, None), or hold_ghosts(model, batch) before each step"
            )
        # A forward inside a backward is a checkpoint that recomputes, and wants the same noise.
        if torch._C._current_graph_task_id() != -1:  # pyright: ignore[reportPrivateUsage]
            raise ValueError(
                "torch.utils.checkpoint cannot draw from an explicit generator once more, and "
                "other noise would give wrong gradients; set_generator(model, None), or "
                "hold_ghosts(model, batch) before each step"
            )
        return self.generator

    def __getstate__(self) -> dict[str, Any]:
        """Leave the generator out of copies and pickles."""
        return {name: value for name, value in self.__dict__.items() if name != "generator"}


class NoiseSite(Drawn):
    """A module whose noise has a size and a strength.

    Attributes:
        ghost_size: N.
        strength: s, a 0-dim float32 buffer that is no part of the state_dict. Assigning a number
            fills it in place, so neither a compiled nor a captured step has to be made anew.
            Strength 0 draws all the same: arms that differ in strength stay paired.
    """

    ghost_size: float | int
    strength: Float[Tensor, ""]

    def init_noise(
        self, ghost_size: float | int, strength: Strength, device: torch.device | None = None
    ) -> None:
        """Give a constructed module its size and strength."""
        check_strength(strength)
        self.ghost_size = ghost_size
        self._asked_strength = float(strength)
        value = torch.tensor(self._asked_strength, dtype=torch.float32, device=device)
        self.register_buffer("strength", value, persistent=False)

    def checked_size(self, value: object) -> int | float:
        """Return a ghost size, or raise ValueError."""
        return check_ghost_size(value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Fill the strength in place, check the ghost size."""
        if name == "strength":
            check_strength(value)
            self._asked_strength = float(value)
            self.strength.fill_(value)
            return
        if name == "ghost_size":
            value = self.checked_size(value)
        super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move the strength with the module, as float32: .half() would round it."""
        strength = self.strength
        cast(Any, super())._apply(fn, recurse)
        device = self.strength.device
        if strength.is_meta:
            strength = torch.full((), self._asked_strength, device=device)
        self._buffers["strength"] = strength.to(device)
        return self

    def noise_repr(self) -> str:
        """Return the noise settings for extra_repr."""
        value = self._asked_strength if self.strength.is_meta else float(self.strength)
        return f"ghost_size={self.ghost_size}, strength={value:g}"


class GhostSite(NoiseSite):
    """A module whose noise comes from samples of the batch.

    Attributes:
        sampling: how a ghost is drawn, see `GhostNoise`.
        ghosts: a held draw, or None to draw anew in every training forward.
    """

    sampling: Sampling
    ghosts: Tensor | None

    def init_ghosts(
        self,
        ghost_size: int,
        strength: Strength,
        sampling: Sampling,
        device: torch.device | None = None,
    ) -> None:
        """Give a constructed module its noise."""
        self.init_noise(ghost_size, strength, device)
        self.sampling = sampling
        self.register_buffer("ghosts", None, persistent=False)

    def size(self) -> int:
        """Return the ghost size, a whole number here."""
        return int(self.ghost_size)

    def draw(self, x: Tensor) -> Ghosts:
        """Return the held draw, or draw for the batch `x`."""
        if self.ghosts is not None:
            return self.ghosts
        return draw_by(
            self.sampling, x.shape[0], self.size(), generator=self.source(), device=x.device
        )

    def hold(self, batch: int | None, *, as_weights: bool = False) -> None:
        """Draw for a batch size now and hold it for the next forwards; None lets go."""
        if batch is None:
            self.ghosts = None
            return
        device = self.strength.device
        new = draw_by(self.sampling, batch, self.size(), generator=self.generator, device=device)
        new = ghost_weights(new) if as_weights else new
        old = self.ghosts
        if old is not None and (old.shape, old.dtype) == (new.shape, new.dtype):
            old.copy_(new)
        else:
            self.ghosts = new

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move a held draw with the module, in its own dtype."""
        ghosts = self.ghosts
        super()._apply(fn, recurse)
        if ghosts is not None:
            self._buffers["ghosts"] = None if ghosts.is_meta else ghosts.to(self.strength.device)
        return self
