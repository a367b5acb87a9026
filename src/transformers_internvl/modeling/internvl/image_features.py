# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From tiles to image tokens: tower, pixel shuffle, projector (arXiv:2404.16821, section 3.1).

InternVL-Chat v1 (arXiv:2312.14238, section 3.4) has MLPs without a norm, one for patches, and in its larger form
QLLaMA behind the tower and a second MLP for its queries. `PROJECTORS` has a row for each kind.

Shape letters: T tiles, S tokens of the tower (class token + h*w patches), C its width, f = 1 / downsample_ratio, N
queries of QLLaMA (0 without it), Q its width, n = N + h*w / f**2 image tokens of a tile, D width of the language
model.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, is_torchdynamo_compiling
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults

from ...hub.config_values import hidden_state_index
from ..dual_encoder.qllama import QLlamaModel
from ..flash.compression import Compression
from ..flash.router import compressed_ratio, compressed_tiles
from ..outputs import InternVLFlashOutputWithPooling, InternVLVisionModelOutputWithPooling
from ..pretrained.parallel import gather_plans, is_sharded
from ..vision.layers import check_tiles
from ..vision.model import InternVLVisionModel, build_vision_tower
from .configuration import InternVLConfig
from .token_pruning import Pruning, prune, take_reduction


def pixel_shuffle(features: torch.Tensor, downsample_ratio: float, version: str = "v2") -> torch.Tensor:
    """Space to depth: every `f x f` block of cells becomes one cell, `f*f` times as wide.

    A cell of the result concatenates its block row by row (f = 2):

        a b | c d          [a b e f] [c d g h]
        e f | g h    ->
        ----+----          [i j m n] [k l o p]
        i j | k l
        m n | o p

    Version "v1" gives the same cells with rows and columns of the *result* swapped.

    Args:
        features: `(T, h, w, C)`.
        downsample_ratio: `1 / f`.
        version: `"v1"` or `"v2"`.

    Returns:
        `(T, h/f, w/f, C*f*f)`; for "v1" `(T, w/f, h/f, C*f*f)`.
    """
    tiles, height, width, channels = features.shape
    f = round(1 / downsample_ratio)
    if height % f or width % f:
        raise ValueError(
            f"A grid of {height} x {width} patches cannot be shuffled by {f}: make the tile size a multiple of {f} "
            "patches."
        )
    blocks = features.reshape(tiles, height // f, f, width // f, f, channels)  # (T, h/f, f, w/f, f, C)
    order = (0, 1, 3, 2, 4, 5) if version == "v2" else (0, 3, 1, 2, 4, 5)
    return blocks.permute(order).flatten(3)


class InternVLMultiModalProjector(nn.Module):
    """Norm and a two-layer MLP from shuffled tower features to the language model's width."""

    def __init__(self, config: InternVLConfig, width: int | None = None, norm: bool = True):
        super().__init__()
        width = width or config.vision_config.hidden_size * round(1 / config.downsample_ratio) ** 2
        self.layer_norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.linear_1 = nn.Linear(width, config.text_config.hidden_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(config.text_config.hidden_size, config.text_config.hidden_size)

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        return self.linear_2(self.act(self.linear_1(self.layer_norm(image_features))))


class InternVLMLPProjector(InternVLMultiModalProjector):
    """The same without the norm; `width` of the features, if they are not the tower's."""

    def __init__(self, config: InternVLConfig, width: int | None = None):
        super().__init__(config, width, norm=False)


class InternVLTwoMLPProjector(nn.Module):
    """One MLP for patches and one for queries; the queries come first."""

    def __init__(self, config: InternVLConfig):
        super().__init__()
        self.mlp1 = InternVLMLPProjector(config)
        self.mlp2 = InternVLMLPProjector(config, config.middleware_config.hidden_size)

    def forward(self, image_features: torch.Tensor, query_features: torch.Tensor) -> torch.Tensor:
        """`(T, n, C*f*f)` and `(T, N, Q)` to `(T, N + n, D)`."""
        return torch.cat([self.mlp2(query_features), self.mlp1(image_features)], dim=1)


PROJECTORS = {
    "mlp": InternVLMultiModalProjector,
    "mlp2x_gelu": InternVLMLPProjector,
    "two_mlp": InternVLTwoMLPProjector,
}
"""`config.projector_type` -> class."""


@dataclass
class InternVLMiddlewareOutput(InternVLVisionModelOutputWithPooling):
    """The outputs of the tower, and `query_hidden_states` `(T, N, D)` of QLLaMA."""

    query_hidden_states: torch.Tensor | None = None


class InternVLMiddlewareTower(nn.Module):
    """InternViT, QLLaMA without its text side, and the queries: the tower of InternVL-Chat v1 in its larger form.

    An image becomes its patches, and what the queries of QLLaMA make of them. The two do not come from the same depth:
    the patches are taken some blocks before the end, the queries look at the tower's last output. Source: the original
    LLaVA code, `multimodal_encoder/internvl_14b/modeling_internvl.py`.
    """

    def __init__(self, config: InternVLConfig):
        super().__init__()
        self.vision_model = build_vision_tower(config.vision_config)
        self.qllama = QLlamaModel(config.middleware_config, text=False)
        queries = (1, config.middleware_config.num_query_token, config.middleware_config.hidden_size)
        self.query_tokens = nn.Parameter(torch.zeros(queries))
        self._gather_from_parts()

    def _gather_from_parts(self) -> None:
        """What a model around this module asks its children for, and finds in those that are models themselves."""
        parts: dict[str, Any] = {"vision_model": self.vision_model, "qllama": self.qllama}
        self._no_split_modules = set().union(*(part._no_split_modules for part in parts.values()))
        self._skip_keys_device_placement = set().union(*(p._skip_keys_device_placement for p in parts.values()))
        gather_plans(self, parts)

    def forward(
        self, pixel_values: torch.Tensor, num_layers: int | None = None, **kwargs: Any
    ) -> InternVLMiddlewareOutput:
        """As the tower's: `last_hidden_state` `(T, S, C)` is of block `num_layers`; the queries see the last."""
        outputs = self.vision_model(pixel_values, num_layers=num_layers, **kwargs)
        last = outputs.last_hidden_state
        if num_layers is not None:
            for layer in self.vision_model.encoder.layer[num_layers:]:
                last = layer(last)
            last = self.vision_model.layernorm(last)
        queries = self.qllama.encode_queries(self.query_tokens, last)
        return InternVLMiddlewareOutput(**outputs, query_hidden_states=queries)


def build_tower(config: InternVLConfig) -> InternVLVisionModel | InternVLMiddlewareTower:
    """The tower of a model: with QLLaMA if the configuration has one."""
    if config.middleware_config is not None:
        return InternVLMiddlewareTower(config)
    return build_vision_tower(config.vision_config)


class ImageFeatureMixin:
    """The image side of a model with `vision_tower` and `multi_modal_projector`, mixed into it."""

    config: InternVLConfig
    dtype: torch.dtype
    training: bool
    vision_tower: nn.Module
    multi_modal_projector: nn.Module
    resolution_router: nn.Module
    compressed_projector: nn.Module
    context_group: Any

    def shares_context(self) -> bool:
        """Whether ranks encode a part of the tiles each; [`InternVLModel`] says."""
        return False

    @merge_with_config_defaults
    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_flags: torch.Tensor | None = None,
        vision_chunk_size: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode tiles into image tokens.

        Args:
            pixel_values: `(T, 3, height, width)`, normalized.
            vision_feature_layer: which hidden state of the tower is used, embeddings counted; -1 is the last block's
                output. Blocks behind it are not run. Defaults to the config's.
            vision_feature_select_strategy: `"default"` drops the class token, which has no place in the grid.
            image_flags: `(T,)` or `(T, 1)`, 0 marks a dummy tile, which is left out. None: all are real.
            vision_chunk_size: outside training, encode so many tiles at a time. Defaults to the config's. A tower that
                is sharded over ranks, compiled together with the rest, or exported, takes them all at once.
            flash_mode, flash_relative_threshold, flash_absolute_threshold, compressed_tiles: of InternVL3.5-Flash,
                which tiles are compressed (`modeling/flash/compression.py`); without any of them none is. With them
                the tower's last layer is used.
            kept_tokens, pruning, pruning_seed: how many image tokens of every tile are kept, and how they are chosen
                (`modeling/internvl/token_pruning.py`); without them all are.
            tiles_per_sample: how many tiles every sample has, among which the relative threshold chooses, and with
                which a seed begins again. None: all are one sample's.

        Returns:
            `pooler_output` `(T, n, D)`, the image tokens; `last_hidden_state` `(T, S, C)` of the layer that was used;
            on request `hidden_states` and `attentions` of the tower. Where tiles may be compressed,
            [`InternVLFlashOutputWithPooling`]; where tokens are pruned, [`InternVLPrunedOutputWithPooling`].
        """
        check_tiles(pixel_values)
        reduction = take_reduction(self.config, kwargs)
        compressed = isinstance(reduction, Compression)
        layer = -1 if compressed else _single_layer(vision_feature_layer)
        if vision_feature_select_strategy != "default":
            raise ValueError(
                "`vision_feature_select_strategy` must be 'default': pixel shuffle works on the patch grid, which the "
                f"class token is no part of. Got {vision_feature_select_strategy!r}."
            )
        if image_flags is not None:
            pixel_values = pixel_values[image_flags.reshape(-1).to(pixel_values.device) == 1]
        pixel_values = pixel_values.to(dtype=self.dtype)
        chunk = self.config.vision_chunk_size if vision_chunk_size is None else vision_chunk_size
        if chunk is not None and chunk < 1:
            raise ValueError(f"`vision_chunk_size` must be at least 1 or None, got {chunk}.")
        # Ranks with other numbers of tiles must call a sharded tower equally often: once. And a graph has no loops: it
        # would hold the whole tower once a chunk, and be another one for every number of chunks.
        graph = is_torchdynamo_compiling() or torch.jit.is_tracing()
        whole = self.training or graph or is_sharded(self.vision_tower)
        at_once = whole or chunk is None or len(pixel_values) <= chunk
        parts = [pixel_values] if at_once else pixel_values.split(chunk)
        encode = self._encode_share if self.shares_context() else self._encode
        chunks = [encode(part, layer, not compressed, **kwargs) for part in parts]
        outputs = chunks[0] if at_once else _join_chunks(chunks)
        return self._reduce(outputs, self._grid(pixel_values), reduction)

    def _grid(self, pixel_values: torch.Tensor) -> tuple[int, int]:
        """Rows and columns of patches, h and w."""
        patch_rows, patch_columns = self.config.vision_config.patch_size
        return pixel_values.shape[-2] // patch_rows, pixel_values.shape[-1] // patch_columns

    def _encode(
        self, pixel_values: torch.Tensor, layer: int, project: bool = True, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """One chunk through tower, shuffle and projector, or through the tower alone."""
        depth = self.config.vision_config.num_hidden_layers
        used = hidden_state_index(layer, depth)
        if not 0 <= used <= depth:
            raise ValueError(f"The tower has hidden states 0 to {depth} (-1 is the last), got layer {layer}.")
        whole = bool(kwargs.get("output_hidden_states"))  # who asks for hidden states gets those of every block
        last = used == depth  # with the tower's final norm, if it has one
        outputs = self.vision_tower(pixel_values, num_layers=None if whole or last else used, **kwargs)
        features = outputs.last_hidden_state if last or not whole else outputs.hidden_states[used]
        outputs.last_hidden_state = features  # (T, S, C)

        if not project:
            return outputs
        cells = features[:, 1:].reshape(-1, *self._grid(pixel_values), features.shape[-1])  # (T, h, w, C)
        cells = pixel_shuffle(cells, self.config.downsample_ratio, self.config.ps_version)  # (T, h/f, w/f, C*f*f)
        queries = () if self.config.middleware_config is None else (outputs.query_hidden_states,)
        outputs.pooler_output = self.multi_modal_projector(cells.flatten(1, 2), *queries)  # (T, n, D)
        return outputs

    def _encode_share(
        self, pixel_values: torch.Tensor, layer: int, project: bool = True, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """As `_encode`, with image tokens of all tiles, of which this rank encodes a part.

        What is left of the outputs is of that part. A rank with fewer tiles encodes empty ones, for their gradients.
        """
        outputs = self._encode(self.context_group.share(pixel_values, dim=0), layer, project, **kwargs)
        outputs.pooler_output = self.context_group.gather(outputs.pooler_output)[: len(pixel_values)]
        return outputs

    def _reduce(
        self,
        outputs: BaseModelOutputWithPooling,
        grid: tuple[int, int],
        reduction: Compression | Pruning | None,
    ) -> BaseModelOutputWithPooling:
        """What the call asks to be made of the tower's patches, `grid` of them, or of the image tokens."""
        if isinstance(reduction, Compression):
            return self._compress(outputs, grid, reduction)
        if reduction is None:
            return outputs
        rows, columns = (round(side * self.config.downsample_ratio) for side in grid)
        return prune(outputs, (rows, columns) if self.config.ps_version == "v2" else (columns, rows), reduction)

    def _compress(
        self, outputs: BaseModelOutputWithPooling, grid: tuple[int, int], compression: Compression
    ) -> InternVLFlashOutputWithPooling:
        """Every tile through one of the two projectors, after the gate."""
        patches = outputs.last_hidden_state[:, 1:]  # (T, h*w, C)
        gate = self.resolution_router(patches).softmax(-1)  # (T, 2)
        tiles = compression.given_tiles(len(patches))
        if tiles is None:
            samples = compression.samples(len(patches))
            tiles = compressed_tiles(gate[:, 0], compression.relative, compression.absolute, samples)  # type: ignore[arg-type]
        tiles = tiles.to(patches.device)  # (T,)
        version, cells = self.config.ps_version, patches.unflatten(1, grid)  # (T, h, w, C)
        wide = pixel_shuffle(cells[~tiles], self.config.downsample_ratio, version).flatten(1, 2)
        narrow = pixel_shuffle(cells[tiles], compressed_ratio(self.config), version).flatten(1, 2)
        whole, small = self.multi_modal_projector(wide), self.compressed_projector(narrow)
        of_kind = {False: iter(whole), True: iter(small)}
        tokens = [next(of_kind[compressed]) for compressed in tiles.tolist()]
        if self.training and tokens:  # ranks reduce the gradients of both projectors, also where one had no tile
            tokens[0] = tokens[0] + 0.0 * (whole.sum() + small.sum().to(whole.device))
        return InternVLFlashOutputWithPooling(
            **{**outputs, "pooler_output": tokens}, compressed_tiles=tiles, gate=gate
        )


def _single_layer(layer: int | list[int] | None) -> int:
    """The one layer that feeds the projector."""
    if isinstance(layer, int):
        return layer
    if layer is not None and len(layer) == 1:
        return layer[0]
    raise ValueError(f"`vision_feature_layer` must be one layer: the projector has room for one, got {layer}.")


def move_padding_tiles_last(features: torch.Tensor, image_flags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put dummy tiles last, the others stay in their order.

    Args:
        features: `(T, n, D)`, of all tiles.
        image_flags: `(T,)`, 0 marks a dummy tile.

    Returns:
        `(T, n, D)`, and how many tiles are real, `()`.
    """
    dummy = (image_flags != 1).long().to(features.device)
    return features[dummy.sort(stable=True).indices], (1 - dummy).sum()


def _join_chunks(chunks: list[BaseModelOutputWithPooling]) -> BaseModelOutputWithPooling:
    """The outputs of several chunks of tiles as the output of all of them."""
    joined = type(chunks[0])()
    for key in list(chunks[0]):
        values = [chunk[key] for chunk in chunks]
        if isinstance(values[0], tuple):
            joined[key] = tuple(torch.cat(layer) for layer in zip(*values, strict=True))
        else:
            joined[key] = torch.cat(values)
    return joined


__all__ = [
    "ImageFeatureMixin",
    "InternVLMLPProjector",
    "InternVLMiddlewareOutput",
    "InternVLMiddlewareTower",
    "InternVLMultiModalProjector",
    "InternVLTwoMLPProjector",
    "PROJECTORS",
    "build_tower",
    "pixel_shuffle",
    "move_padding_tiles_last",
]
