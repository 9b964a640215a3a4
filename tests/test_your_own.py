"""A head and a network of somebody's own, one file each: those of the documentation."""

import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.distributions import Categorical, Independent, Laplace, MixtureSameFamily

from kdn.cli import main
from kdn.data import PointLabels, ScalarLabels, held_out_samples
from kdn.data.markup import Markup
from kdn.grid import Grid
from kdn.models.checkpoint import load_model, save_model
from kdn.models.heads import build_head
from kdn.models.model import build_model
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe

PAGE = Path(__file__).parents[1] / "docs" / "your-own.md"
HEAD, NETWORK = "lab.laplace:LaplaceKernels", "lab.unet:UNet"
GRID = Grid.of_heatmap(height=5, width=7, stride=4)
THREE = PointLabels(Markup("three", 3, flip=(1, 0, 2)))
AXIS = Grid.of_interval(20.0, 35.0, step=2.5)


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Path:
    """Return a package with the modules that the documentation shows, not imported yet."""
    package = tmp_path / "lab"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S):
        name = re.match(r"# lab/(\w+)\.py: ", code)
        if name is not None:
            (package / f"{name[1]}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    forget(monkeypatch)
    return package


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the package out of what is imported, as in a process that has just begun."""
    for name in [name for name in sys.modules if name.split(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)


def recipe_of(**changes) -> Recipe:
    return Recipe.of_dict(
        {
            "data": {"train": "synthetic:12:0", "valid_fraction": 0.4, "height": 32, "width": 48},
            "network": {"name": NETWORK, "options": {"width": 8}},
            "head": {"name": HEAD, "bandwidth": 1.5},
            "optimise": {"epochs": 2, "batch": 4},
            **changes,
        }
    )


def test_a_head_of_somebody_s_own_is_the_textbook_mixture(lab):
    head = build_head(HeadRecipe(HEAD, bandwidth=0.7, options={"sharpness": 2.0}), THREE, GRID)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 3, 5, 7, generator=generator).double()
    target = 24 * torch.rand(2, 3, 2, generator=generator).double()
    kernels = Laplace(GRID.points().reshape(-1, 2).double(), 0.7 * 4 / math.sqrt(2))
    kernels = Independent(kernels.expand((2, 3, 35, 2)), 1)
    wanted = MixtureSameFamily(Categorical(logits=2 * outputs.flatten(-2)), kernels)
    torch.testing.assert_close(head.loss(outputs, target), -wanted.log_prob(target))
    density = head.density(outputs)
    torch.testing.assert_close(density.mean, wanted.mean)
    assert head.decode(density, "mode").shape == (2, 3, 2)
    assert bool(density.hdr_level(target).isfinite().all())


def test_it_serves_scalars_too(lab):
    """Rounded ones, by the mass of their intervals."""
    labels = ScalarLabels(("age", "weight"), AXIS, 2.0)
    head = build_head(HeadRecipe(HEAD, bandwidth=1.2), labels, AXIS)
    assert not head.takes_maps
    outputs = torch.randn(3, head.channels, generator=torch.Generator().manual_seed(1)).double()
    target = torch.tensor([[21.0, 30.0], [28.0, 24.0], [35.0, 41.0]]).double()
    kernels = Laplace(AXIS.points().flatten().double(), 1.2 * 2.5 / math.sqrt(2))
    masses = kernels.cdf(target[..., None] + 1) - kernels.cdf(target[..., None] - 1)
    probs = torch.softmax(outputs.reshape(3, 2, 7), -1)
    wanted = -((probs * masses).sum(-1) / 2).log()
    torch.testing.assert_close(head.loss(outputs, target), wanted)


def test_it_is_trained_calibrated_and_loaded_by_those_who_trust_it(
    lab, tmp_path, monkeypatch, capsys
):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(recipe_of().as_dict()))
    command = ["train", "--recipe", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]
    assert main(command) == 0
    best = str(tmp_path / "run" / "best.safetensors")
    forget(monkeypatch)
    with pytest.raises(ValueError, match=r"needs the code of lab\.unet:UNet.*--trust lab"):
        load_model(best)
    assert "lab" not in sys.modules
    model, _ = load_model(best, trust=("lab",))
    assert type(model.network).__name__ == "UNet"
    assert model.recipe == recipe_of()
    crops = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        density = model.density(crops, flip=True)
        assert model.decode(density).shape == (2, 68, 2)
    out = str(tmp_path / "calibrated.safetensors")
    command = ["calibrate", "--model", best, "--out", out, "--quiet"]
    assert main(command) == 2
    assert "--trust lab" in capsys.readouterr().err
    assert main([*command, "--trust", "lab"]) == 0
    calibrated, _ = load_model(out, trust=["lab"])
    assert set(calibrated.recalibrations) == {False, True}
    with torch.no_grad():
        adjusted = calibrated.density(crops)
    assert adjusted.kernel == density.kernel
    small = str(tmp_path / "small.safetensors")
    assert main(["export", "--model", out, "--out", small, "--half", "--trust", "lab"]) == 0


def test_a_format_that_a_checkpoint_names_is_read_by_those_who_trust_it(lab, tmp_path):
    """What is held out is known from the sources that a stranger's recipe names."""
    data = DataRecipe(train=("lab.mice:MICE:labels.txt",), valid_fraction=0.5)
    for sources in ((), ("synthetic:3:0",)):
        with pytest.raises(ValueError, match=r"needs the code of lab; .* or --trust lab"):
            held_out_samples(data, THREE, sources, trust=("mice",))
    assert "lab" not in sys.modules
    for trust, sources in ((("lab",), ()), ((), data.train)):
        with pytest.raises(FileNotFoundError, match=r"labels\.txt"):
            held_out_samples(data, THREE, sources, trust=trust)
    assert "lab.mice" in sys.modules


def test_settings_are_those_of_its_signature(lab):
    def built(**changes):
        return build_model(recipe_of(**changes))

    with pytest.raises(ValueError, match=r"head\.refine has no meaning for lab\.lap.*got 2"):
        built(head={"name": HEAD, "refine": 2})
    with pytest.raises(ValueError, match=r"head\.options: lab\.\S+ takes sharpness, got 'sharp'"):
        built(head={"name": HEAD, "options": {"sharp": 1}})
    with pytest.raises(ValueError, match=r"head\.options: .* takes sharpness, got 'bandwidth'"):
        built(head={"name": HEAD, "options": {"bandwidth": 1}})
    with pytest.raises(ValueError, match=r"network\.options: fan takes none, got 'width'"):
        built(network={"name": "fan", "options": {"width": 8}})
    with pytest.raises(ValueError, match=r"multiples of 4 for lab\.unet:UNet, got 30 and 48"):
        built(data={"height": 30, "width": 48})
    with pytest.raises(ValueError, match=r"lab\.unet:UNet gives maps, but .* gaussian of points"):
        built(head={"name": "gaussian"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab.nowhere:UNet", "cannot be imported"),
        ("lab.unet:Nothing", "cannot be imported"),
        ("lab.laplace:Laplace", "must be a subclass of Network, got <class"),
        ("lab.unet:convolutions", "must be a subclass of Network, got <function"),
        (":UNet", "cannot be imported"),
    ],
)
def test_what_is_no_network_says_so(lab, name, said):
    with pytest.raises(ValueError, match=rf"network\.name {re.escape(name)} {said}"):
        build_model(recipe_of(network=NetworkRecipe(name).__dict__))


def test_a_stranger_s_file_runs_none_of_its_code(lab, tmp_path, monkeypatch):
    """Whatever part of it names the code, and whatever else is trusted."""
    code = (lab / "unet.py").read_text("utf-8")
    mark = f"\nopen({str(tmp_path / 'ran')!r}, 'w').close()\n"
    (lab / "unet.py").write_text(code + mark, encoding="utf-8")
    path = tmp_path / "stranger.safetensors"
    save_model(path, build_model(recipe_of(head={"refine": 1})), {})
    (tmp_path / "ran").unlink()
    forget(monkeypatch)
    for trust in ((), ("kdn", "la", "lab.unet", "labs")):
        with pytest.raises(ValueError, match=r"stranger\.safetensors: needs the code of lab\.unet"):
            load_model(path, trust=trust)
    assert not (tmp_path / "ran").exists()
    load_model(path, trust=("lab",))
    assert (tmp_path / "ran").exists()
