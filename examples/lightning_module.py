"""Densities in a `LightningModule`: training, NLL and coverage in validation, predictions.

    python examples/lightning_module.py

Needs `pip install pytorch-lightning`. Pictures and network are those of `plain_loop.py`.
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from kdn import KernelDensity
from plain_loop import GRID, Network, draw


class Landmarks(pl.LightningModule):
    """A network with one map per landmark, trained by the likelihood of the labels."""

    def __init__(self, rate: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = Network()

    def density(self, images: Tensor) -> KernelDensity:
        """Return the densities of a batch. The trainer only sees tensors made of them."""
        logits, bandwidth = self.network(images)
        return KernelDensity(logits, GRID, bandwidth=bandwidth)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        images, points, valid = batch
        log_prob = self.density(images).log_prob(points.where(valid.unsqueeze(-1), 0.0))
        loss = -log_prob.where(valid, 0.0).sum(-1).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        images, points, valid = batch
        density = self.density(images)
        count = int(valid.sum())  # so that the mean over batches is one over labels
        self.log("val_nll", -density.log_prob(points)[valid].mean(), batch_size=count)
        inside = (density.hdr_level(points) <= 0.9)[valid].float()
        self.log("val_coverage", inside.mean(), batch_size=count)
        errors = (density.mode - points).norm(dim=-1)[valid]
        self.log("val_error", errors.mean(), batch_size=count)

    def predict_step(self, batch: list[Tensor], index: int) -> dict[str, Tensor]:
        density = self.density(batch[0])
        return {"points": density.mode, "covariances": density.covariance_matrix}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["rate"])


def main(epochs: int = 3, count: int = 1000, test: int = 100, seed: int = 0) -> dict[str, float]:
    """Train, validate and predict; return the scores."""
    pl.seed_everything(seed, verbose=False)
    train, held_out = (
        DataLoader(
            TensorDataset(*draw(size, torch.Generator().manual_seed(seed + part))),
            batch_size=16,
            shuffle=part == 0,
        )
        for part, size in enumerate((count, test))
    )
    model = Landmarks()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (before,) = trainer.validate(model, held_out, verbose=False)
    trainer.fit(model, train, held_out)
    (after,) = trainer.validate(model, held_out, verbose=False)
    predictions = trainer.predict(model, held_out)
    assert predictions is not None
    points = torch.cat([batch["points"] for batch in predictions])  # type: ignore[index]
    labels, valid = held_out.dataset[:][1:]
    constant = (labels - labels.nanmean(0)).norm(dim=-1)[valid]
    scores = {
        "NLL before": float(before["val_nll"]),
        "NLL": float(after["val_nll"]),
        "error": float((points - labels).norm(dim=-1)[valid].mean()),
        "error of the mean place": float(constant.mean()),
        "coverage of 90 % regions": float(after["val_coverage"]),
    }
    for name, value in scores.items():
        print(f"{name:26s} {value:8.3f}")
    return scores


if __name__ == "__main__":
    main()
