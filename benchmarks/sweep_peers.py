"""The digits sweep as a user would otherwise write it, in two ways; see benchmarks/sweep.py.

    python benchmarks/sweep_peers.py ray    {ours,own} FOLDER    plain Ray Tune
    python benchmarks/sweep_peers.py optuna {ours,own} FOLDER    Optuna alone, in one process

Both search the space of sweeps/configs/digits.yaml with the same number of trials, epochs and ASHA
(Optuna: its own successive halving pruner), and log to MLflow on sqlite. `ours` trains with this
project's generator and data; `own` with a DataLoader and the plain composition of the noise. No
peer writes checkpoints or can be resumed. Prints one JSON object: epochs, best, seconds by phase.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

START = time.time()
TRIALS, EPOCHS, BATCH = 32, 27, 128
PHASES: dict[str, float] = {}


def phase(name: str) -> None:
    """Note the seconds since the start under `name`, the first time."""
    PHASES.setdefault(name, round(time.time() - START, 2))


def train_ours(ghost_size: int, strength: float, lr: float) -> Iterator[dict]:
    """Epoch metrics from the project's own generator and data."""
    import torch

    from sweeps.reading import load
    from sweeps.trial import datasets
    from sweeps.trial.loop import fit

    torch.set_num_threads(1)
    spec = load(Path(__file__).parents[1] / "sweeps" / "configs" / "digits.yaml")
    point = {
        "model.noise.ghost_size": ghost_size,
        "model.noise.strength": strength,
        "training.optimizer.lr": lr,
    }
    for result in fit(spec.trial(point, seed=0), datasets.load(spec.data)):
        yield result.metrics


def train_own(ghost_size: int, strength: float, lr: float) -> Iterator[dict]:
    """Epoch metrics from a loop as one writes it by hand."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class GhostNoise(nn.Module):
        """The plain composition: gather each sample's ghosts, take their statistics."""

        def forward(self, x):
            if not self.training:
                return x
            with torch.no_grad():
                ghosts = x[torch.randint(len(x), (len(x), ghost_size))]
                shift = ghosts.mean(1) - x.mean(0)
                ratio = (ghosts.var(1, unbiased=False) + 1e-3) / (x.var(0, unbiased=False) + 1e-3)
            return (x - strength * shift) / ratio ** (strength / 2)

    class Affine(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(width))
            self.bias = nn.Parameter(torch.zeros(width))

        def forward(self, x):
            return x * self.gain + self.bias

    class Digits(Dataset):
        def __init__(self, images, labels):
            self.images, self.labels = images, labels
            self.transform = transforms.Compose(
                [transforms.ToTensor(), transforms.Normalize((0.3,), (0.38,))]
            )

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.transform(self.images[index]), self.labels[index]

    digits = load_digits()
    images = (digits.images * (255 / 16)).astype("uint8")[..., None]
    rest, _, rest_labels, _ = train_test_split(images, digits.target, test_size=297, random_state=0)
    train, val, train_y, val_y = train_test_split(rest, rest_labels, test_size=0.2, random_state=0)
    loader = DataLoader(Digits(train, train_y), BATCH, shuffle=True, drop_last=True)
    val_loader = DataLoader(Digits(val, val_y), 1024)
    widths = [64, 128, 128, 128]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [
            nn.Linear(before, after, bias=False),
            nn.BatchNorm1d(after, affine=False),
            GhostNoise(),
            Affine(after),
            nn.ReLU(),
        ]
    model = nn.Sequential(*layers, nn.Linear(128, 10))
    optimizer = torch.optim.SGD(
        model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    for _ in range(EPOCHS):
        model.train()
        total, correct, seen = 0.0, 0, 0
        for x, y in loader:
            optimizer.zero_grad()
            out = model(x)
            loss = F.cross_entropy(out, y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() * len(y)
            correct += (out.argmax(1) == y).sum().item()
            seen += len(y)
        model.eval()
        val_loss, val_correct = 0.0, 0
        with torch.no_grad():
            for x, y in val_loader:
                out = model(x)
                val_loss += F.cross_entropy(out, y, reduction="sum").item()
                val_correct += (out.argmax(1) == y).sum().item()
        yield {
            "train_loss": total / seen,
            "train_accuracy": correct / seen,
            "val_loss": val_loss / len(val),
            "val_accuracy": val_correct / len(val),
            "lr": scheduler.get_last_lr()[0],
        }


TRAIN = {"ours": train_ours, "own": train_own}


def ray_objective(config: dict) -> None:
    """Plain Ray Tune's function trainable."""
    from ray import tune

    loop = TRAIN[config["training"]]
    for metrics in loop(config["ghost_size"], config["strength"], config["lr"]):
        tune.report(metrics)


def with_ray(training: str, folder: Path) -> tuple[int, float]:
    """The sweep on plain Ray Tune: OptunaSearch, ASHAScheduler, MLflowLoggerCallback."""
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune import Callback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    class Clock(Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            phase("first epoch")

    phase("imports")
    space = {
        "ghost_size": tune.lograndint(4, 65),
        "strength": tune.uniform(0, 2),
        "lr": tune.loguniform(1e-2, 1),
        "training": training,
    }
    callback = MLflowLoggerCallback(f"sqlite:///{folder}/mlflow.db", experiment_name="peer")
    results = tune.Tuner(
        tune.with_resources(ray_objective, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            num_samples=TRIALS,
            search_alg=OptunaSearch(seed=0),
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder), verbose=1, callbacks=[callback, Clock()]
        ),
    ).fit()
    phase("last trial")
    epochs = sum((r.metrics or {}).get("training_iteration", 0) for r in results)
    best = results.get_best_result(filter_nan_and_inf=True).metrics or {}
    return epochs, best["val_accuracy"]


def with_optuna(training: str, folder: Path) -> tuple[int, float]:
    """The sweep in one process: Optuna's sampler and pruner, MLflow by hand."""
    import mlflow
    import optuna

    phase("imports")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("peer")
    phase("store")
    epochs = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal epochs
        params = {
            "ghost_size": trial.suggest_int("ghost_size", 4, 64, log=True),
            "strength": trial.suggest_float("strength", 0, 2),
            "lr": trial.suggest_float("lr", 1e-2, 1, log=True),
        }
        value = 0.0
        with mlflow.start_run(run_name=f"trial-{trial.number}"):
            mlflow.log_params(params)
            for epoch, metrics in enumerate(TRAIN[training](**params), start=1):
                phase("first epoch")
                epochs += 1
                mlflow.log_metrics(metrics, step=epoch)
                value = metrics["val_accuracy"]
                trial.report(value, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )
    study.optimize(objective, n_trials=TRIALS, catch=(ArithmeticError,))
    phase("last trial")
    return epochs, study.best_value


def main() -> None:
    """Run one peer and print what it did."""
    kind, training, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    epochs, best = {"ray": with_ray, "optuna": with_optuna}[kind](training, folder)
    seconds = round(time.time() - START, 2)
    print(json.dumps({"epochs": epochs, "best": best, "phases": PHASES, "seconds": seconds}))


if __name__ == "__main__":
    main()
