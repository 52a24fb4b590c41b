"""Published files at work: what each is steered by, and which words its CLIP has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from patina.training import official
from patina.training.data.batches import Plan, load
from patina.training.data.index import read_index
from patina.training.errors import CheckpointError, StageError
from patina.training.models import daclip, unet
from patina.training.objectives.base import settings_of
from patina.training.objectives.make import make_learner
from patina.training.restore.clips import load_published_clip
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.published import load_published
from patina.training.restore.restorer import Restorer
from tests.pipeline.making import picture
from tests.training.restore.test_restorer import CLIP, UNET, made_up
from tests.training.running import small_dataset, stage

WILD = replace(UNET, degradation_context=None, half=True)
SINGLE = replace(UNET, degradation_context=None)
PROMPT_ALONE = replace(UNET, image_context=None)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [(WILD, daclip.WILD_DEGRADATIONS), (SINGLE, daclip.DEGRADATIONS), (PROMPT_ALONE, daclip.DEGRADATIONS)],
)
def test_a_network_is_given_the_embeddings_that_it_is_built_for(
    tmp_path: Path, settings: unet.UNetSettings, words: tuple[str, ...]
) -> None:
    net, clip = unet.UNet(settings), daclip.DaClip(CLIP)
    for name, weight in net.named_parameters():
        if "project_out" in name:  # zero at the start, so that a content embedding would change nothing
            torch.nn.init.normal_(weight, std=0.1)
    official.save(net, tmp_path / "net.pth")
    official.save(clip, tmp_path / "clip.pt")
    restorer = load_published(tmp_path / "net.pth", tmp_path / "clip.pt")
    image = picture(48, 40)
    condition = restorer.look(image)
    assert set(condition.degradations) == set(words)
    assert set(condition.contexts) == {"image_context", "degradation_context"}  # the CLIP says both all the same
    restored = restorer.restore(image, sampler="fast-ode", steps=2, condition=condition)

    # as the released code calls it: the one embedding alone
    taken = {k: v for k, v in condition.contexts.items() if getattr(settings, k) is not None}
    assert len(taken) == 1
    alone = replace(condition, contexts=taken)
    assert torch.equal(restorer.restore(image, sampler="fast-ode", steps=2, condition=alone), restored)
    other = replace(condition, contexts={k: torch.randn_like(v) * 9 for k, v in condition.contexts.items()})
    assert not torch.equal(restorer.restore(image, sampler="fast-ode", steps=2, condition=other), restored)


def test_which_file_steers_a_network_in_the_wild_is_said(tmp_path: Path) -> None:
    official.save(unet.UNet(WILD), tmp_path / "wild.pth")
    with pytest.raises(CheckpointError, match=r"give its file too, such as wild-daclip_ViT-L-14\.pt"):
        load_published(tmp_path / "wild.pth", None)
    official.save(unet.UNet(UNET), tmp_path / "unet.pth")
    with pytest.raises(CheckpointError, match=r"give its file too, such as daclip_ViT-B-32\.pt"):
        load_published(tmp_path / "unet.pth", None)


def test_a_published_clip_alone_has_the_papers_words(tmp_path: Path) -> None:
    official.save(daclip.DaClip(CLIP), tmp_path / "clip.pt")
    found = load_published_clip(tmp_path / "clip.pt")
    assert found.degradations == daclip.DEGRADATIONS
    assert found.texts.shape == (10, CLIP.embed_dim)
    official.save(unet.UNet(UNET), tmp_path / "unet.pth")
    with pytest.raises(CheckpointError, match="which names no degradations"):
        load_published_clip(tmp_path / "unet.pth")


@pytest.mark.parametrize(
    ("network", "settings", "taken"),
    [
        ("unet-wild", {}, {"image_context"}),
        ("unet-daclip", {"degradation_context": 0}, {"image_context"}),
        ("unet-daclip", {"image_context": 0}, {"degradation_context"}),
        ("unet-daclip", {}, {"image_context", "degradation_context"}),
    ],
)
def test_networks_of_one_embedding_are_trained_and_validated(
    tmp_path: Path, network: str, settings: dict[str, int], taken: set[str]
) -> None:
    dataset = small_dataset(tmp_path, photos=4, degradations=("noisy",))
    conditioner = Conditioner(daclip.DaClip(CLIP), made_up("contrastive", view="patch", crop=64))
    what = stage("irsde", network=network, settings=settings)
    learner = make_learner(what, read_index(dataset, "train"), conditioner)
    (batch,) = load(read_index(dataset, "train"), what.data, Plan(0, 4, 4, 0, 1, 1), seed=1, view_side=64, workers=0)
    assert set(learner.contexts(batch)) == taken  # type: ignore[operator]
    learner(batch)["loss"].backward()
    assert all(p.grad is not None for p in learner.net.parameters() if p.requires_grad)
    restorer = Restorer(learner.net, conditioner, what)
    assert restorer.restore(picture(48, 40)).shape == (3, 40, 48)


@pytest.mark.parametrize("network", ["unet-no-context", "unet-irsde", "nafnet-refusion"])
def test_a_network_that_takes_no_embedding_is_not_steered(network: str) -> None:
    conditioner = Conditioner(daclip.DaClip(CLIP), made_up("contrastive", view="photo"))
    with pytest.raises(StageError, match=f"{network} takes nothing of what steers it; leave out after = 'controller'"):
        settings_of(stage("irsde", network=network), conditioner)


def test_the_direct_network_lacks_neither() -> None:
    conditioner = Conditioner(daclip.DaClip(CLIP), made_up("contrastive", view="photo"))
    with pytest.raises(StageError, match="degradation_context = 0; nafnet-direct is built on both"):
        settings_of(stage("nafnet", settings={"degradation_context": 0}), conditioner)
