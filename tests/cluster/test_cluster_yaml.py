from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from sweeps.driver.autoscaling import to_come
from sweeps.spec import ResourcesSpec

PATH = Path(__file__).parents[2] / "cluster.yaml"
TEXT = PATH.read_text()


@pytest.fixture
def config():
    return prepare_config(yaml.safe_load(TEXT))  # AWS is not asked


def test_ray_takes_it(config):
    validate_config(config)
    assert config["available_node_types"][config["head_node_type"]]["max_workers"] == 0


def test_ray_refuses_a_key_it_does_not_know(config):
    wrong = copy.deepcopy(config)
    wrong["available_node_types"]["gpu_spot"]["max_worker"] = 4
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(wrong)


def test_three_places_are_to_be_changed_and_nothing_else_names_an_account():
    marks = [line for line in TEXT.splitlines() if "# CHANGE" in line]
    assert [next(w for w in ("region", "key_name", "s3") if w in line) for line in marks] == [
        "region",
        "key_name",
        "s3",
    ]
    assert TEXT.count("s3://") == TEXT.count("eu-central-1") == 1


def launched(config, trials: int, **availability: float) -> dict[str, int]:
    """The workers that Ray's autoscaler would start for so many trials of one GPU each."""
    types = AutoscalingConfig(config, skip_content_hash=True).get_node_type_configs()
    need = [ResourceRequestUtil.make({"CPU": 1, "GPU": 1}) for _ in range(trials)]
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=types,
        max_num_nodes=config["max_workers"],  # the head is not among them here
        resource_requests=ResourceRequestUtil.group_by_count(need),
        recoverable_resource_availabilities=availability,
        cloud_resource_availabilities=availability,
    )
    reply = ResourceDemandScheduler(event_logger=None).schedule(request)
    return {launch.instance_type: launch.count for launch in reply.to_launch}


def test_no_gpu_machine_is_there_before_a_trial_waits_for_one(config):
    assert launched(config, 0) == {}


def test_spot_machines_come_first_and_never_more_than_allowed(config):
    assert launched(config, 2) == {"gpu_spot": 2}
    assert launched(config, 20) == {"gpu_spot": config["max_workers"]}


def test_on_demand_machines_come_while_no_spot_machine_can_be_had(config):
    assert launched(config, 2, gpu_spot=0.5) == {"gpu_on_demand": 2}


@pytest.mark.parametrize(("gpus", "cpus", "trials"), [(1, 1, 4), (0.5, 1, 8), (0, 1, 0), (2, 1, 0)])
def test_the_driver_counts_on_the_machines_that_may_come(gpus, cpus, trials):
    need = ResourcesSpec(gpus_per_trial=gpus, cpus_per_trial=cpus)
    assert to_come(need, PATH) == trials


def test_both_gpu_types_differ_in_their_price_alone(config):
    types = config["available_node_types"]
    spot, demand = types["gpu_spot"]["node_config"], types["gpu_on_demand"]["node_config"]
    assert spot.pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot == demand


def test_nothing_listens_without_the_token_and_the_web_pages_only_on_loopback(config):
    starts = config["head_start_ray_commands"]
    assert any("--dashboard-host=127.0.0.1" in command for command in starts)
    assert any("mlflow server --host 127.0.0.1" in command for command in starts)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert not any("0.0.0.0" in command for command in starts)
