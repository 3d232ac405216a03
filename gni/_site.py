"""What all modules that draw ghosts share: size, strength, generator, a held draw."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from gni._checks import check_ghost_size, check_strength
from gni._moments import Ghosts, ghost_weights
from gni._noise import Strength, draw_ghosts


class NoiseSite(nn.Module):
    """A place in a model where ghost noise enters.

    Attributes:
        ghost_size: N, samples drawn for each sample.
        strength: s, a 0-dim float32 buffer that is no part of the state_dict. Assigning a number
            fills it in place, so neither a compiled nor a captured step has to be made anew.
            Strength 0 draws all the same: arms that differ in strength stay paired.
        generator: source of the draws; None means torch's default generator of the input's device.
            It belongs to the training run, not to the module: copies and pickles are made without
            it. torch.compile needs None or a held draw (`hold_ghosts`).
        ghosts: a held draw, or None to draw anew in every training forward.
    """

    ghost_size: int
    strength: Float[Tensor, ""]
    ghosts: Tensor | None
    generator: Generator | None

    def init_noise(
        self, ghost_size: int, strength: Strength, device: torch.device | None = None
    ) -> None:
        """Give a constructed module its noise."""
        self.ghost_size = check_ghost_size(ghost_size)
        self.generator = None
        check_strength(strength)
        self._asked_strength = float(strength)
        value = torch.tensor(self._asked_strength, dtype=torch.float32, device=device)
        self.register_buffer("strength", value, persistent=False)
        self.register_buffer("ghosts", None, persistent=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """Fill the strength in place, check the ghost size."""
        if name == "strength":
            check_strength(value)
            self._asked_strength = float(value)
            self.strength.fill_(value)
            return
        if name == "ghost_size":
            value = check_ghost_size(value)
        super().__setattr__(name, value)

    def draw(self, x: Tensor) -> Ghosts:
        """Return the held draw, or draw for the batch `x`."""
        if self.ghosts is not None:
            return self.ghosts
        if torch.compiler.is_compiling() and self.generator is not None:
            raise ValueError(
                "torch.compile cannot draw from an explicit generator; "
                "set_generator(model, None), or hold_ghosts(model, batch) before each step"
            )
        return draw_ghosts(x.shape[0], self.ghost_size, generator=self.generator, device=x.device)

    def hold(self, batch: int | None, *, as_weights: bool = False) -> None:
        """Draw for a batch size now and hold it for the next forwards; None lets go."""
        if batch is None:
            self.ghosts = None
            return
        device = self.strength.device
        new = draw_ghosts(batch, self.ghost_size, generator=self.generator, device=device)
        new = ghost_weights(new) if as_weights else new
        old = self.ghosts
        if old is not None and (old.shape, old.dtype) == (new.shape, new.dtype):
            old.copy_(new)
        else:
            self.ghosts = new

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move the noise with the module but keep its dtypes: .half() would round the strength."""
        strength, ghosts = self.strength, self.ghosts
        cast(Any, super())._apply(fn, recurse)
        device = self.strength.device
        if strength.is_meta:
            strength = torch.full((), self._asked_strength, device=device)
        self._buffers["strength"] = strength.to(device)
        if ghosts is not None:
            self._buffers["ghosts"] = None if ghosts.is_meta else ghosts.to(device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave the generator out of copies and pickles."""
        return {**self.__dict__, "generator": None}

    def noise_repr(self) -> str:
        """Return the noise settings for extra_repr."""
        value = f"{self._asked_strength if self.strength.is_meta else float(self.strength):g}"
        return f"ghost_size={self.ghost_size}, strength={value}"
