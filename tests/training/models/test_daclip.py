"""DA-CLIP: the published numbers from the published tensors, and the laws of a frozen encoder with a controller."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.published import daclip as published_daclip
from patina.captioning.torchvision_ops import ensure_torchvision
from patina.training.data.views import tokenize
from patina.training.errors import ModelInputError
from patina.training.models import daclip
from patina.training.models.daclip import (
    DEGRADATIONS,
    TINY,
    VIT_B_32,
    VIT_L_14,
    ClipSettings,
    ClipWeightsError,
    DaClip,
    Features,
    contrastive_terms,
    degradation_accuracy,
    joint_loss,
    loss_floor,
    parameter_groups,
    start_as_cosines,
)
from patina.training.models.keymap import KeyMapError
from patina.training.official.daclip import DACLIP, settings_of
from tests.training import fill

HERE = Path(__file__).parents[1]
SHAPES = fill.load_shapes(HERE / "official_keys" / "daclip_ViT-B-32.keys.json")
CAPTIONS = [
    "a dog on a lawn",
    "a river under an old bridge, with two boats",
    "snow on the roofs of a small town",
    "a cup",
]


@pytest.fixture(scope="module", autouse=True)
def _on_one_core() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return dict(np.load(HERE / "golden" / "daclip.npz"))


def error(found: Tensor, expected: Any) -> float:
    return float(np.abs(found.detach().numpy() - expected).max() / np.abs(expected).max())


def steered(net: DaClip) -> DaClip:
    """With controls that do something, as after a training."""
    torch.manual_seed(1)
    for parameter in net.controller.dense.parameters():
        nn.init.normal_(parameter, std=0.05)
    return net


@pytest.fixture
def tiny() -> DaClip:
    torch.manual_seed(0)
    return DaClip(TINY)


@pytest.fixture(scope="module")
def full() -> Iterator[DaClip]:
    published = {k: torch.from_numpy(fill.weight(k, v)) for k, v in SHAPES.items() if not k.startswith("visual.")}
    published |= {k: published[fill.daclip_alias(k)] for k in SHAPES if k.startswith("visual.")}
    net = DaClip(VIT_B_32)
    net.load_state_dict(DACLIP.from_published(published, net.state_dict()))
    yield net


def batch(size: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    images = torch.randn(size, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    degradations = [DEGRADATIONS[i % 3] for i in range(size)]
    return images, tokenize([CAPTIONS[i % 4] for i in range(size)]), tokenize(degradations)


# ---------------------------------------------------------------------------------------------------- published tensors


def test_published_names_to_ours_and_back_is_the_identity() -> None:
    """Of names and shapes: 631 tensors without memory. `test_tiny_networks_go_round` has the values."""
    with torch.device("meta"):
        like = DaClip(VIT_B_32).state_dict()
        published = {key: torch.empty(shape) for key, shape in SHAPES.items()}
    assert settings_of(published) == VIT_B_32
    unique = {key: tensor for key, tensor in published.items() if not key.startswith("visual.")}
    ours = DACLIP.from_published(unique, like)
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in like.items()}
    back = DACLIP.to_published(ours)
    assert {key: tuple(tensor.shape) for key, tensor in back.items()} == SHAPES and len(SHAPES) == 631


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        base, large = DaClip(VIT_B_32), DaClip(VIT_L_14)
    count = [sum(p.numel() for p in m.parameters()) for m in (base, base.controller, large, large.controller)]
    assert count[:2] == [246_213_634, 94_936_320]
    assert [round(n / 1e5) for n in count[2:]] == [7568, 3292]
    groups = parameter_groups(base)
    assert [len(group["params"]) for group in groups] == [114, 63]
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05]
    assert sum(p.numel() for group in groups for p in group["params"]) == 94_936_321
    names = {id(p): name for name, p in base.named_parameters()}
    decayed = [names[id(p)] for p in groups[1]["params"]]
    assert not [name for name in decayed if any(word in name for word in ("bn", "ln", "bias", "logit_scale"))]
    assert sum(".resblocks." in name for name in decayed) == 48 and sum(".dense." in name for name in decayed) == 12


def test_tiny_networks_go_round(tiny: DaClip) -> None:
    published = DACLIP.to_published(steered(tiny).state_dict())
    assert settings_of(published) == TINY
    ours = DACLIP.from_published(published, tiny.state_dict())
    assert all(torch.equal(ours[name], tensor) for name, tensor in tiny.state_dict().items())
    without = {name: tensor for name, tensor in published.items() if not name.startswith("visual.")}
    assert DACLIP.from_published(without, tiny.state_dict()).keys() == ours.keys()
    with pytest.raises(KeyMapError, match="not equal"):
        DACLIP.from_published({**published, "visual.proj": published["clip.visual.proj"] + 1}, tiny.state_dict())
    with pytest.raises(KeyMapError, match="not of a CLIP"):
        settings_of({"weight": torch.zeros(1)})


@pytest.mark.slow
def test_features_are_the_published_ones(full: DaClip, golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.from_numpy(fill.context("daclip.images", (2, 3, 224, 224), 1.0))
    encoder, seen, run = list(full.clip.visual.transformer.resblocks), [], daclip.run_block

    def recorded(block: Any, x: Tensor, **options: Any) -> Tensor:
        result = run(block, x, **options)
        if any(block is one for one in encoder):
            seen.append(result[:, 0])
        return result

    with torch.no_grad():
        hidden, _ = full.controller(images)
        controls = torch.stack([z(h)[:, 0] for z, h in zip(full.controller.dense, hidden, strict=True)])
        assert error(controls[..., ::3], golden["control_class_token_every_third"]) <= 1e-5
        monkeypatch.setattr(daclip, "run_block", recorded)
        image, degra = full.encode_image(images)
        # The stored rows are those after the control was added in place.
        rows = torch.stack(seen) + controls.flip(0)
        assert error(rows[..., ::3], golden["encoder_block_class_token_every_third"]) <= 1e-5
        assert error(image, golden["image_features_control"]) <= 1e-5
        assert error(degra, golden["degra_features"]) <= 1e-5
        for features, name in zip(
            full.encode_image(images, normalize=True), ("image_features_control", "degra_features"), strict=True
        ):
            assert error(features, golden[f"{name}_normalised"]) <= 1e-5
        assert error(full.encode_image(images, control=False), golden["image_features_plain"]) <= 1e-5
        assert error(full.encode_image(images[1:])[0], golden["image_features_control"][1:]) <= 1e-5
        assert error(full.encode_text(torch.from_numpy(golden["tokens"])), golden["text_features"]) <= 1e-5
        tokens = tokenize(list(golden["strings"]))
        assert torch.equal(tokens, torch.from_numpy(golden["string_tokens"]))
        assert error(full.encode_text(tokens), golden["string_features"]) <= 1e-5


@pytest.mark.slow
def test_losses_and_gradients_are_the_published_ones(full: DaClip, golden: dict[str, Any]) -> None:
    images = torch.from_numpy(fill.context("daclip.batch.images", (8, 3, 224, 224), 1.0))
    degradations = torch.from_numpy(fill.tokens("daclip.batch.degradation", 8))
    features = full(images, torch.from_numpy(fill.tokens("daclip.batch.caption", 8)), degradations)
    for found, name in zip(features, ("image", "text", "image_degra", "text_degra"), strict=True):
        assert error(found, golden[f"batch_{name}_features"]) <= 1e-5, name
    losses = joint_loss(features, full.logit_scale)
    for loss, name in zip(losses, ("loss", "contrastive_loss", "degra_loss"), strict=True):
        assert error(loss, golden[f"batch_{name}"]) <= 1e-5, name
    same = full.encode_text(degradations[:1].expand(8, -1), normalize=True)
    same_text = contrastive_terms(features.degra, same, full.logit_scale).mean()
    assert error(same_text, golden["batch_degra_loss_same_text"]) <= 1e-5 and same_text > math.log(8)
    full.zero_grad()
    losses.total.backward()
    theirs = DACLIP.names(name for name, _ in full.named_parameters())
    norms = {theirs[n][0]: float(p.grad.double().norm()) for n, p in full.named_parameters() if p.grad is not None}
    assert set(norms) == set(golden["grad_keys"])
    for key, norm in zip(golden["grad_keys"], golden["grad_norms_f64"], strict=True):
        assert norms[key] == pytest.approx(norm, rel=1e-3), key
    assert full.logit_scale.grad is not None
    assert error(full.logit_scale.grad, golden["grad_logit_scale"]) <= 1e-5
    full.zero_grad()


@pytest.mark.parametrize("control", [True, False])
def test_the_published_structure_gives_the_same(tiny: DaClip, control: bool) -> None:
    ours = steered(tiny)
    theirs = published_daclip.build(DACLIP.to_published(ours.state_dict()))
    images, captions, degradations = batch()
    loss = joint_loss(ours(images, captions, degradations), ours.logit_scale).total
    expected = theirs(images, torch.cat((captions, degradations), dim=1))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for found, wanted in zip(ours.encode_image(images, control), theirs.encode_image(images, control), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    loss.backward()
    expected.backward()
    names = DACLIP.names(name for name, _ in ours.named_parameters())
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, gradients[names[name][0]].grad, rtol=1e-3, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------------- laws


def test_a_clean_start_leaves_clips_features_as_they_are(tiny: DaClip) -> None:
    images = torch.randn(2, 3, 64, 64)
    plain = tiny.clip.encode_image(images)  # by open_clip's own forward
    image, degra = tiny.encode_image(images)
    torch.testing.assert_close(tiny.encode_image(images, control=False), plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(degra, plain, rtol=1e-5, atol=1e-5)
    assert not any(tensor.any() for tensor in tiny.controller.dense.state_dict().values())
    captions = tokenize(CAPTIONS)
    torch.testing.assert_close(tiny.encode_text(captions), tiny.clip.encode_text(captions), rtol=1e-5, atol=1e-6)


def test_the_published_start_copies_all_but_the_last_norm_and_hardly_changes_features() -> None:
    torch.manual_seed(0)
    net = DaClip(TINY)
    encoder = net.clip.visual
    nn.init.normal_(encoder.ln_post.weight, 1, 0.1)
    nn.init.normal_(encoder.ln_post.bias, 0, 0.1)
    net.start(published=True)
    copied = net.controller.tower.state_dict()
    unlike = [name for name, tensor in encoder.state_dict().items() if not torch.equal(copied[name], tensor)]
    assert unlike == ["ln_post.weight", "ln_post.bias"]
    assert bool((copied["ln_post.weight"] == 1).all()) and not copied["ln_post.bias"].any()
    first: Any = net.controller.dense[0]
    assert all(torch.equal(row, encoder.ln_post.weight) for row in first.weight)
    assert torch.equal(first.bias, encoder.ln_post.bias)
    assert not any(tensor.any() for tensor in net.controller.dense[1:].state_dict().values())
    images = torch.randn(2, 3, 64, 64)
    plain, (image, _) = net.encode_image(images, control=False), net.encode_image(images)
    change = ((image - plain).norm() / plain.norm()).item()
    assert 1e-4 < change < 0.1
    net.start()
    torch.testing.assert_close(net.encode_image(images)[0], plain, rtol=1e-5, atol=1e-5)


def test_controls_come_from_the_end(tiny: DaClip) -> None:
    """A control that only the controller's last block gives must reach the encoder's first block."""
    images = torch.randn(1, 3, 64, 64)
    hidden, _ = tiny.controller(images)
    for index, dense in enumerate(tiny.controller.dense):
        nn.init.constant_(dense.bias, index + 1.0)
    controls = tiny.controller.controls(hidden)
    assert [control.mean().item() for control in controls] == pytest.approx([3.0, 2.0, 1.0])
    assert [control.shape[1] for control in controls] == [17, 17, 1]


def test_frozen_parts_get_no_gradient_and_do_not_change(tiny: DaClip) -> None:
    tiny.train()
    assert tiny.training and tiny.controller.training and not any(module.training for module in tiny.clip.modules())
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    optimiser = torch.optim.AdamW(parameter_groups(tiny), lr=1e-3, betas=(0.9, 0.98), eps=1e-6)
    joint_loss(tiny(*batch()), tiny.logit_scale).total.backward()
    assert all(parameter.grad is None for parameter in tiny.clip.parameters())
    assert all(p.grad is not None for p in (*tiny.controller.parameters(), tiny.logit_scale))
    optimiser.step()
    moved = {name for name, tensor in tiny.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and not [name for name in moved if name.startswith("clip.")]
    assert {"logit_scale", "controller.dense.0.weight", "controller.tower.conv1.weight"} <= moved


def test_frozen_blocks_keep_less_for_the_backward_pass(tiny: DaClip) -> None:
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in tiny.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def memory(tower: Any) -> int:
        kept.clear()
        tokens = torch.randn(4, 17, 128, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            daclip.run_block(tower.transformer.resblocks[0], tokens)
        return sum(kept.values())

    assert memory(tiny.clip.visual) < 0.75 * memory(tiny.controller.tower)


def test_texts_cost_only_what_counts_and_are_the_same(tiny: DaClip) -> None:
    tokens = tokenize([*CAPTIONS, CAPTIONS[0]])
    rows, place = daclip.distinct(tokens)
    assert len(rows) == 4 and rows.shape[1] < 20
    assert torch.equal(rows[place], tokens[:, : rows.shape[1]])
    whole = daclip._text_features(tiny.clip, tokens)
    torch.testing.assert_close(tiny.encode_text(tokens), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(tiny.encode_text(tokens[:1]), whole[:1], rtol=1e-5, atol=1e-6)
    assert not tiny.encode_text(tokens).requires_grad
    crowded = tokenize(["a dog " * 100])
    torch.testing.assert_close(tiny.encode_text(crowded), tiny.clip.encode_text(crowded), rtol=1e-5, atol=1e-6)


def test_permuting_the_batch_permutes_the_terms_of_the_loss() -> None:
    torch.manual_seed(0)
    x, y = (functional.normalize(torch.randn(6, 16), dim=-1) for _ in range(2))
    scale = torch.tensor(2.0)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    terms = contrastive_terms(x, y, scale)
    assert len(set(terms.tolist())) == 6
    torch.testing.assert_close(contrastive_terms(x[order], y[order], scale), terms[order])
    torch.testing.assert_close(contrastive_terms(y, x, scale), terms)
    by_hand = [-(scale.exp() * x[b] @ y[b] - (scale.exp() * y @ x[b]).logsumexp(0)) for b in range(6)]
    back = [-(scale.exp() * x[b] @ y[b] - (scale.exp() * x @ y[b]).logsumexp(0)) for b in range(6)]
    torch.testing.assert_close(terms, (torch.stack(by_hand) + torch.stack(back)) / 2)


def test_the_floor_is_that_of_the_paper_s_counts_and_of_a_perfect_model() -> None:
    counts = [2103, 6000, 3550, 485, 3550, 861, 1800, 2680, 1872, 29_900]
    assert [round(loss_floor(counts, b), 2) for b in (512, 784, 3136)] == [4.68, 5.11, 6.50]
    assert loss_floor([1], 512) == pytest.approx(math.log(512))
    assert loss_floor([1] * 8, 8) == pytest.approx(0, abs=1e-12)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1])
    perfect = functional.one_hot(labels, 3).float()
    term = contrastive_terms(perfect, perfect, torch.tensor(daclip.MAX_LOGIT_SCALE)).mean()
    assert float(term) == pytest.approx(loss_floor([4, 3, 1], 8), rel=1e-5)
    for shares, size in (([], 8), ([0.0, 0.0], 8), ([1.0, -0.1], 8), ([1.0], 0)):
        with pytest.raises(ModelInputError, match="expected numbers"):
            loss_floor(shares, size)


def test_classification_takes_the_nearest_word() -> None:
    degradations = torch.eye(4, 16) * torch.tensor([1.0, 5.0, 0.2, 3.0])[:, None]
    labels = torch.tensor([2, 0, 3, 1, 1])
    degra = torch.eye(4, 16)[labels] + 0.1
    assert float(degradation_accuracy(degra, degradations, labels)) == 1
    assert float(degradation_accuracy(degra, degradations, torch.tensor([2, 0, 3, 1, 0]))) == pytest.approx(0.8)
    probabilities = daclip.degradation_probabilities(degra, degradations)
    torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(5))


def test_the_temperature_is_kept_in_bounds(tiny: DaClip) -> None:
    for value, expected in ((-1.0, 0.0), (2.5, 2.5), (9.0, math.log(100))):
        nn.init.constant_(tiny.logit_scale, value)
        tiny.clamp_logit_scale()
        assert tiny.logit_scale.item() == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------------- how it is run


@pytest.mark.slow
def test_it_compiles_without_a_break(tiny: DaClip) -> None:
    images, captions, degradations = batch(2)
    compiled: Any = torch.compile(steered(tiny), backend="eager", fullgraph=True)
    expected = tiny(images, captions, degradations)
    for found, wanted in zip(compiled(images, captions, degradations), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_bfloat16_gives_close_numbers(tiny: DaClip) -> None:
    images, captions, degradations = batch()
    exact = steered(tiny)(images, captions, degradations)
    with torch.autocast("cpu", torch.bfloat16):
        rough = tiny(images, captions, degradations)
        loss = joint_loss(rough, tiny.logit_scale).total
    for found, wanted in zip(rough, exact, strict=True):
        assert functional.cosine_similarity(found.float(), wanted).min().item() > 0.995
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in tiny.controller.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("images", "captions", "degradations", "told"),
    [
        (torch.zeros(2, 4, 64, 64), None, None, "batch x 3"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), None, None, "divide by 255"),
        (torch.zeros(2, 3, 224, 224), None, None, "sees 64×64"),
        (None, torch.zeros(2, 154, dtype=torch.int64), None, "two tensors"),
        (None, torch.zeros(2, 77), None, "int64"),
        (None, None, torch.full((2, 77), 49_408), "another tokeniser"),
        (None, torch.zeros(3, 77, dtype=torch.int64), None, "3 captions"),
    ],
)
def test_bad_input_is_refused(
    tiny: DaClip, images: Tensor | None, captions: Tensor | None, degradations: Tensor | None, told: str
) -> None:
    good = batch(2)
    given = [
        given if given is not None else one for given, one in zip((images, captions, degradations), good, strict=True)
    ]
    with pytest.raises(ModelInputError, match=told):
        tiny(*given)


def test_names_of_open_clip() -> None:
    assert daclip.settings_named("ViT-B-32") == VIT_B_32
    assert daclip.settings_named("ViT-L-14") == VIT_L_14
    assert daclip.settings_named("ViT-B-32-quickgelu").quick_gelu
    for name, told in (("RN50", "a ResNet"), ("coca_ViT-B-32", "multimodal_cfg"), ("ViT-Z", "knows no model")):
        with pytest.raises(ModelInputError, match=told):
            daclip.settings_named(name)
    with pytest.raises(ModelInputError, match="no multiple of patch_size"):
        ClipSettings(patch_size=15)


def test_quick_gelu_is_another_function(tiny: DaClip) -> None:
    quick = DaClip(ClipSettings(**{**vars(TINY), "quick_gelu": True}))
    quick.load_state_dict(tiny.state_dict())
    images = torch.randn(1, 3, 64, 64)
    expected = quick.clip.encode_image(images)
    torch.testing.assert_close(quick.encode_image(images)[0], expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(expected, tiny.encode_image(images)[0], atol=1e-3)


@pytest.fixture
def architecture(tmp_path: Path) -> Iterator[str]:
    """The tiny CLIP under a name of its own in open_clip's catalogue."""
    ensure_torchvision()
    import open_clip.factory

    config = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "layers": 3, "width": 128, "patch_size": 16},
        "text_cfg": {"width": 64, "heads": 1, "layers": 2},
    }
    before = dict(open_clip.factory._MODEL_CONFIGS)
    (tmp_path / "patina-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "patina-tiny.json")
    yield "patina-tiny"
    open_clip.factory._MODEL_CONFIGS.clear()
    open_clip.factory._MODEL_CONFIGS.update(before)


def test_weights_come_from_a_file(tiny: DaClip, architecture: str, tmp_path: Path) -> None:
    file = tmp_path / "clip.pt"
    torch.save(tiny.clip.state_dict(), file)
    net = DaClip.pretrained(architecture, str(file))
    assert net.settings == TINY and not net.clip.training
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net.encode_image(images), tiny.encode_image(images))
    assert all(parameter.requires_grad for parameter in net.controller.parameters())
    assert not any(parameter.requires_grad for parameter in net.clip.parameters())


def test_weights_that_cannot_be_had_are_told(architecture: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>404</html>")
    for weights in ("nonsense", str(tmp_path / "page.html"), str(tmp_path / "none.pt")):
        with pytest.raises(ClipWeightsError, match=r"cannot be loaded.*give the path of a file"):
            DaClip.pretrained(architecture, weights)
    with pytest.raises(ClipWeightsError, match="write 'ViT-B-32-quickgelu'"):
        DaClip.pretrained("ViT-B-32", "openai")


@pytest.mark.slow
def test_two_processes_have_the_loss_of_one_with_both_batches(tmp_path: Path) -> None:
    images, captions, degradations = batch(8)
    net = steered(_seeded())
    loss = joint_loss(net(images, captions, degradations), net.logit_scale)
    loss.total.backward()
    torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for rank in ranks:
        torch.testing.assert_close(rank["losses"], torch.stack(loss).detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(rank["logit_scale"], net.logit_scale.grad, rtol=1e-4, atol=1e-6)
    for name, parameter in net.controller.named_parameters():
        both = ranks[0][name] + ranks[1][name]
        torch.testing.assert_close(both, parameter.grad, rtol=1e-3, atol=1e-6)


def test_a_patch_embedding_starts_as_cosines_over_their_amplitude() -> None:
    conv = torch.nn.Conv2d(3, 40, 8, 8, bias=False)
    start_as_cosines(conv)
    filters = conv.weight.detach().flatten(1)
    again = torch.nn.Conv2d(3, 40, 8, 8, bias=False)
    start_as_cosines(again)
    assert torch.equal(conv.weight, again.weight)  # nothing random
    unit = filters / filters.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit @ unit.T, torch.eye(40), rtol=0, atol=1e-5)  # no two see the same
    grey = filters[:24].norm(dim=1)
    assert (grey.diff() >= -1e-5).all() and grey[-1] / grey[0] > 30  # finer ones larger: photographs have less of them
    flat = conv(torch.ones(1, 3, 8, 8))[0, :, 0, 0]
    assert flat[0].abs() > 1 and (flat[1:24].abs() < 1e-4).all() and (flat[25:40].abs() < 1e-4).all()


def test_a_clip_of_random_weights_starts_so_and_its_controller_too() -> None:
    net, conv = _seeded(), torch.nn.Conv2d(3, TINY.image_width, TINY.patch_size, TINY.patch_size, bias=False)
    start_as_cosines(conv)
    assert torch.equal(net.clip.visual.conv1.weight, conv.weight)
    assert torch.equal(net.controller.tower.conv1.weight, conv.weight)


def _seeded() -> DaClip:
    torch.manual_seed(0)
    return DaClip(TINY)


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    net = steered(_seeded())
    own = [part[4 * rank : 4 * rank + 4] for part in batch(8)]
    losses = joint_loss(net(*own), net.logit_scale)
    losses.total.backward()
    found = {name: parameter.grad for name, parameter in net.controller.named_parameters()}
    torch.save(
        {**found, "losses": torch.stack(losses).detach(), "logit_scale": net.logit_scale.grad}, f"{folder}/{rank}.pt"
    )
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_tiny_learns_eight_pairs_by_heart() -> None:
    net = _seeded().train()
    labels = torch.arange(8)
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        captions = net.encode_text(tokenize([f"{CAPTIONS[i % 4]} and {i} birds" for i in range(8)]), normalize=True)
        degradations = net.encode_text(tokenize(DEGRADATIONS), normalize=True)
    assert float(degradation_accuracy(net.encode_image(images)[1], degradations, labels)) < 0.5
    optimiser = torch.optim.AdamW(parameter_groups(net), lr=3e-4, betas=(0.9, 0.98), eps=1e-6)
    began, steps, accuracy, excess = time.perf_counter(), 0, 0.0, math.inf
    while (accuracy <= 0.99 or excess > 0.1) and steps < 400:
        image, degra = net.encode_image(images, normalize=True)
        losses = joint_loss(Features(image, captions, degra, degradations[labels]), net.logit_scale)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        net.clamp_logit_scale()
        accuracy = float(degradation_accuracy(degra.detach(), degradations, labels))
        excess = losses.degradation.item() - loss_floor([1] * 8, 8)
        steps += 1
    took = time.perf_counter() - began
    print(f"\nDA-CLIP TINY: accuracy {accuracy:.0%}, {excess:.3f} above the floor, after {steps} steps in {took:.1f} s")
    assert accuracy > 0.99 and excess <= 0.1 and took < 60
