from itertools import combinations

import torch

from sweeps.trial.streams import generator, numpy_generator, seed_of


def test_a_stream_is_a_function_of_its_name():
    assert torch.equal(
        torch.rand(5, generator=generator(3, "order", 2)),
        torch.rand(5, generator=generator(3, "order", 2)),
    )
    assert (numpy_generator(3, "split").random(5) == numpy_generator(3, "split").random(5)).all()


def test_streams_differ_in_seed_name_and_position():
    keys = [(s, n, *p) for s in (0, 1) for n in ("order", "noise") for p in ((), (1,), (2,))]
    draws = [torch.rand(4, generator=generator(*key)) for key in keys]
    assert not any(torch.equal(a, b) for a, b in combinations(draws, 2))


def test_seeds_are_the_same_in_every_version():
    # sha256("0/init") and sha256("7/order/3"), first 8 bytes, halved
    assert seed_of(0, "init") == 1519069808562059438
    assert seed_of(7, "order", 3) == 929583480629082613
    assert 0 <= seed_of(2**40, "noise", 10**6) < 2**63


def test_one_stream_does_not_advance_another():
    noise, order = generator(0, "noise", 1), generator(0, "order", 1)
    torch.rand(100, generator=noise)
    assert torch.equal(
        torch.rand(5, generator=order), torch.rand(5, generator=generator(0, "order", 1))
    )
