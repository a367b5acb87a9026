# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Image classification and linear segmentation on InternViT, against the same computed step by step."""

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForImageClassification, AutoModelForSemanticSegmentation

from tests.closeness import assert_same_results
from tests.parity.golden import golden_cases
from tests.tiny import tiny_config
from transformers_internvl import (
    InternVisionConfig,
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)

POOLINGS = ["cls_patch_concat", "attention_pooling"]


@pytest.fixture(params=golden_cases("intern_vit_"), ids=lambda path: path.name)
def folder(request):
    return request.param


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 42, 70, generator=torch.Generator().manual_seed(0))


def stirred(model: nn.Module) -> nn.Module:
    """The model with a head whose every number matters: fresh ones are nearly zero."""
    torch.manual_seed(0)
    for name, tensor in model.state_dict().items():
        if not name.startswith("internvl_vision.") and tensor.is_floating_point():
            tensor.copy_(tensor + 0.3 * torch.rand_like(tensor))
    return model.eval()


def attention_pooled(pool: nn.Module, tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """The attention pool, head by head in plain operations."""
    attention = pool.cross_attn
    query = attention.q(pool.norm1_q(tokens.mean(1, keepdim=True))) + attention.q_bias
    key = attention.k(pool.norm1_k(tokens)) + attention.k_bias
    value = attention.v(pool.norm1_v(tokens)) + attention.v_bias
    outputs = []
    for q, k, v in zip(*(states.chunk(heads, dim=-1) for states in (query, key, value)), strict=True):
        outputs.append((q @ k.transpose(1, 2) / k.shape[-1] ** 0.5).softmax(-1) @ v)
    return attention.proj(torch.cat(outputs, dim=-1))[:, 0]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_logits_are_those_of_the_paper(folder, pixels, pooling):
    model = AutoModelForImageClassification.from_pretrained(folder, num_labels=5, classifier_pooling=pooling)
    assert type(model) is InternVisionForImageClassification
    stirred(model)
    with torch.no_grad():
        tokens = AutoModel.from_pretrained(folder).eval()(pixels).last_hidden_state
        if pooling == "cls_patch_concat":  # the class token first
            features = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)
        else:
            features = attention_pooled(model.pooling, tokens, model.config.num_attention_heads)
        norm = model.batch_norm
        features = (features - norm.running_mean) / (norm.running_var + 1e-6).sqrt() * norm.weight + norm.bias
        expected = features @ model.classifier.weight.T + model.classifier.bias
        torch.testing.assert_close(model(pixels).logits, expected, rtol=1e-4, atol=1e-5)


def test_the_pool_may_have_other_heads(folder, pixels):
    width = InternVisionConfig.from_pretrained(folder).hidden_size
    heads = 7 if width % 7 == 0 else 8
    model = AutoModelForImageClassification.from_pretrained(
        folder, classifier_pooling="attention_pooling", classifier_pool_heads=heads
    )
    stirred(model)
    tokens = torch.randn(2, 5, width)
    with torch.no_grad():
        torch.testing.assert_close(model.pooling(tokens), attention_pooled(model.pooling, tokens, heads))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_fresh_heads_start_as_the_original_code_does(folder, pooling):
    model, report = AutoModelForImageClassification.from_pretrained(
        folder, num_labels=400, classifier_pooling=pooling, output_loading_info=True
    )
    assert not report["unexpected_keys"] and not report["mismatched_keys"]
    assert report["missing_keys"] and not any(key.startswith("internvl_vision") for key in report["missing_keys"])
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not model.classifier.bias.any()
    assert (model.batch_norm.weight == 1).all() and (model.batch_norm.running_var == 1).all()
    if pooling == "attention_pooling":
        attention = model.pooling.cross_attn
        assert not any(bias.any() for bias in (attention.q_bias, attention.k_bias, attention.v_bias))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_saved_loads_again_whole_and_as_a_tower(folder, pixels, pooling, tmp_path):
    labels = {0: "cat", 1: "dog", 2: "owl"}
    model = AutoModelForImageClassification.from_pretrained(folder, id2label=labels, classifier_pooling=pooling)
    stirred(model).save_pretrained(tmp_path)
    again, report = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert again.config.id2label == labels and again.config.classifier_pooling == pooling
    tower, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    with torch.no_grad():
        assert_same_results(again.eval()(pixels).logits, model(pixels).logits)
        expected = AutoModel.from_pretrained(folder).eval()(pixels).last_hidden_state
        assert_same_results(tower.eval()(pixels).last_hidden_state, expected)


def test_a_plain_towers_config_has_no_key_of_heads(folder, tmp_path):
    import json

    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    written, source = (json.loads((path / "config.json").read_text()) for path in (tmp_path, folder))
    assert source.items() <= {**written, **{key: source[key] for key in ("transformers_version", "auto_map")}}.items()
    added = set(written) - set(source)
    assert not {key for key in added if "classifier" in key or key.startswith(("out_", "_out", "use_fpn", "stage"))}


def test_losses_follow_the_labels(folder, pixels):
    model = AutoModelForImageClassification.from_pretrained(folder, num_labels=4)
    stirred(model)
    classes = torch.tensor([2, 0, 3])
    output = model(pixels, labels=classes)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, classes))
    assert model.config.problem_type == "single_label_classification"
    model.config.problem_type = None
    several = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]])
    expected = nn.functional.binary_cross_entropy_with_logits(output.logits, several)
    torch.testing.assert_close(model(pixels, labels=several).loss, expected)
    model = stirred(AutoModelForImageClassification.from_pretrained(folder, num_labels=1))
    values = torch.tensor([0.3, -1.0, 2.0])
    output = model(pixels, labels=values)
    torch.testing.assert_close(output.loss, nn.functional.mse_loss(output.logits[:, 0], values))


def test_outputs_as_tuples_and_with_hidden_states(folder, pixels):
    model = stirred(AutoModelForImageClassification.from_pretrained(folder))
    with torch.no_grad():
        output = model(pixels, output_hidden_states=True)
        assert len(output.hidden_states) == model.config.num_hidden_layers + 1
        assert torch.equal(model(pixels, return_dict=False)[0], output.logits)


def canonical_config(**changes):
    config = tiny_config(vision=changes).vision_config
    config.num_labels = 3
    return config


@pytest.mark.parametrize(
    "auto_class, expected",
    [
        (AutoModelForImageClassification, InternVLVisionForImageClassification),
        (AutoModelForSemanticSegmentation, InternVLVisionForSemanticSegmentation),
    ],
)
def test_the_canonical_tower_has_the_same_heads(auto_class, expected, pixels, tmp_path):
    model = stirred(auto_class.from_config(canonical_config()))
    assert type(model) is expected
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert_same_results(auto_class.from_pretrained(tmp_path).eval()(pixels).logits, model(pixels).logits)


def test_configs_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="cls_patch_concat"):
        canonical_config(classifier_pooling="mean")
    with pytest.raises(ValueError, match="classifier_pool_heads"):
        canonical_config(classifier_pool_heads=7)
    with pytest.raises(ValueError, match="stage9"):
        canonical_config(out_features=["stage9"])
    with pytest.raises(ValueError, match="reads one layer"):
        InternVLVisionForSemanticSegmentation(canonical_config(out_indices=[1, 2]))


def test_the_linear_segmentation_head_has_the_papers_parameters():
    """0.5M in the paper's table; its batch norm is not counted there."""
    with torch.device("meta"):
        model = InternVisionForSemanticSegmentation(InternVisionConfig(num_labels=150, out_indices=[45]))
    assert sum(parameter.numel() for parameter in model.classifier.parameters()) == 480_150
    assert model.num_layers == 45  # the paper's block 44, counted from 0


def test_segmentation_step_by_step(folder, pixels):
    model = AutoModelForSemanticSegmentation.from_pretrained(folder, num_labels=3, out_indices=[2])
    assert type(model) is InternVisionForSemanticSegmentation
    stirred(model)
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(pixels, output_hidden_states=True).hidden_states[2]
        maps = states[:, 1:].reshape(3, 3, 5, -1).permute(0, 3, 1, 2)
        maps = nn.functional.batch_norm(
            maps,
            model.batch_norm.running_mean,
            model.batch_norm.running_var,
            model.batch_norm.weight,
            model.batch_norm.bias,
        )
        small = torch.einsum("tdhw,nd->tnhw", maps, model.classifier.weight[:, :, 0, 0])
        small = small + model.classifier.bias[:, None, None]
        expected = nn.functional.interpolate(small, size=(42, 70), mode="bilinear")
        torch.testing.assert_close(model(pixels).logits, expected, rtol=1e-4, atol=1e-5)


def test_segmentation_loss_leaves_pixels_out(folder, pixels):
    model = stirred(AutoModelForSemanticSegmentation.from_pretrained(folder, num_labels=3))
    labels = torch.randint(0, 3, (3, 42, 70))
    labels[:, :10] = 255
    output = model(pixels, labels=labels)
    torch.testing.assert_close(
        output.loss, nn.functional.cross_entropy(output.logits[:, :, 10:], labels[:, 10:], reduction="mean")
    )
    unlabelled = model(pixels, labels=torch.full_like(labels, 255)).loss
    assert unlabelled.item() == 0.0 and unlabelled.requires_grad
    model.config.semantic_loss_ignore_index = 0
    output = model(pixels, labels=labels.clamp(max=2))
    expected = nn.functional.cross_entropy(output.logits, labels.clamp(max=2), ignore_index=0)
    torch.testing.assert_close(output.loss, expected)


def test_segmentation_labels_that_do_not_fit_are_refused(folder, pixels):
    model = AutoModelForSemanticSegmentation.from_pretrained(folder, num_labels=3)
    with pytest.raises(ValueError, match=r"\(3, 42, 70\).*got \(3, 3, 5\)"):
        model(pixels, labels=torch.zeros(3, 3, 5, dtype=torch.long))
    model = AutoModelForSemanticSegmentation.from_pretrained(folder, num_labels=1)
    with pytest.raises(ValueError, match="two classes or more"):
        model(pixels, labels=torch.zeros(3, 42, 70, dtype=torch.long))


def test_blocks_behind_the_layer_that_is_read_do_not_run(folder, pixels):
    model = AutoModelForSemanticSegmentation.from_pretrained(folder, num_labels=3, out_indices=[2]).eval()
    for layer in model.internvl_vision.encoder.layer[2:]:
        layer.forward = None  # whoever calls it fails
    model(pixels)


def test_norms_of_pools_and_heads():
    model = AutoModelForImageClassification.from_config(canonical_config(classifier_pooling="attention_pooling"))
    pool = model.pooling
    assert [norm.eps for norm in (pool.norm1_q, pool.norm1_k, pool.norm1_v)] == [1e-5] * 3
    assert model.batch_norm.eps == 1e-6


def test_patches_of_another_shape():
    config = canonical_config(patch_size=[14, 28], image_size=[56, 112])
    model = stirred(InternVLVisionForSemanticSegmentation(config))
    with torch.no_grad():
        assert model(torch.randn(1, 3, 28, 84)).logits.shape == (1, 3, 28, 84)


def test_labels_of_another_number_of_images_are_refused():
    model = InternVLVisionForSemanticSegmentation(canonical_config())
    for shape in ((1, 28, 28), (2, 28, 14), (2, 784)):
        with pytest.raises(ValueError, match=r"\(2, 28, 28\) \(T, height, width\)"):
            model(torch.randn(2, 3, 28, 28), labels=torch.zeros(shape, dtype=torch.long))
    config = canonical_config()
    config.num_labels = 2
    model = InternVLVisionForSemanticSegmentation(config)  # as few as there may be
    assert model(torch.randn(2, 3, 28, 28), labels=torch.zeros(2, 28, 28, dtype=torch.long)).loss > 0
