import numpy as np
import pytest

from sweeps.spec import DataSpec
from sweeps.trial.datasets import load
from sweeps.trial.standins import SHAPES


@pytest.mark.parametrize("name", SHAPES)
def test_a_stand_in_has_the_shape_and_classes_of_what_it_stands_for(name):
    spec = DataSpec(name=f"sweeps.trial.standins:{name}", limit=24, evaluate="test")
    data = load(spec)
    assert (data.classes, data.in_channels, data.image_size) == SHAPES[name]
    assert (len(data.train_labels), len(data.test_labels)) == (24, 24)
    assert data.train_images.std() > 60  # 73.9 for uniform bytes


def test_a_stand_in_is_the_same_each_time_and_teaches_nothing_of_its_test_images():
    spec = DataSpec(name="sweeps.trial.standins:mnist")
    first, again = load(spec), load(spec)
    assert np.array_equal(first.train_images, again.train_images)
    assert not np.array_equal(first.train_images[:512], first.test_images)
