# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLPreTrainedModel`: what all models of the package share. The steps are functions in files beside this one.

| step | file |
|---|---|
| arguments under the names of older releases | `older_arguments.py` |
| damaged files, missing and unexpected weights, weights under the names of a saved folder | `loading.py` |
| quantization | `quantized.py` |
| tensors that are spread over ranks | `parallel.py` |
| transformers' own adapter methods | `native_adapters.py` |
| workarounds for faults of transformers, torch and accelerate | `upstream.py` |
| generation | `generation.py` |
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel

from ...hub.arguments import hub_arguments
from ...hub.checkpoint_files import check_files
from ...hub.model_card import complete_upload
from .loading import (
    check_indices,
    damaged_files_named,
    explain_misfit,
    refuse_missing_integers,
    refuse_report,
    remembered_conversions,
    under_own_names,
    without_new_head,
    without_quantizer_states,
)
from .native_adapters import check_adapter
from .older_arguments import todays_arguments
from .parallel import register_fsdp_methods
from .quantized import listed_for_disk, refuse_to_join, with_unconverted_modules
from .upstream import (
    existing_blocks,
    first_loaded_device,
    replicate_scalars,
    scalars_aside,
    split_summed,
    sum_shared_gradients,
    tied_copies_joined,
    with_peft_check,
    with_whole_heads,
)


class InternVLPreTrainedModel(PreTrainedModel):
    """Loading, saving, quantization, ranks and the Hub, for every model of the package.

    Attributes:
        strict_loading: whether weights without a place in the model are an error, too. Places without a weight are
            one in every class.
        new_head: modules that may be new: of which none of the weights is there.
        modules_to_not_convert: names of modules that a quantization leaves as they are, unless it lists its own.
    """

    strict_loading: ClassVar[bool] = False
    new_head: ClassVar[tuple[str, ...]] = ()
    modules_to_not_convert: ClassVar[tuple[str, ...]] = ()

    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["cache"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    tp_plan: dict[str, str]
    _summed: frozenset[str] = frozenset()  # modules and parameters whose gradients are sums over the ranks

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers', with checks.

        Places without weights are an error, but for a head of which nothing is there (`new_head`), and with
        `ignore_mismatched_sizes=True`; so are weights without a place, where the class is strict (`strict_loading`),
        and weights of adapters always. A `quantization_config` without a list of modules to leave gets
        `modules_to_not_convert`; its list and a `device_map` may have the original names (`vision_model`, `mlp1`).
        Arguments of older releases are taken, see [`todays_arguments`].

        Raises:
            ValueError: for weights or places as above; a name of a module that means none; an index that names a
                file outside of the folder.
            OSError: a weight file cannot be read.
        """
        folder, wants_report = pretrained_model_name_or_path, kwargs.pop("output_loading_info", False)
        subfolder = kwargs.get("subfolder") or ""
        kwargs = todays_arguments(cls, kwargs)
        check_files(folder, subfolder)
        check_indices(folder, subfolder)
        kwargs = with_unconverted_modules(cls, folder, kwargs)
        with damaged_files_named(folder, subfolder):
            model, report = super().from_pretrained(folder, *args, output_loading_info=True, **kwargs)
        cls._supply_missing(folder, model, report)
        cls._check_report(folder, model, report, lenient=kwargs.get("ignore_mismatched_sizes", False))
        sum_shared_gradients(model)
        replicate_scalars(model)
        return (model, report) if wants_report else model

    @classmethod
    def _supply_missing(cls, folder: Any, model: Any, report: dict[str, Any]) -> None:
        """Fetch weights that `report` misses from elsewhere, and take them out of it. Most classes need not."""

    @classmethod
    def _check_report(cls, folder: Any, model: Any, report: dict[str, Any], lenient: bool) -> None:
        """Refuse what transformers would draw at random or drop."""
        adapters = {key for key in report["unexpected_keys"] if ".lora_A." in key}  # dropped, they would be lost
        if lenient and not adapters:
            return
        report = without_quantizer_states(model, report)
        missing = without_new_head(model, set(report["missing_keys"]), cls.new_head)
        unexpected = report["unexpected_keys"] if cls.strict_loading else adapters
        cls._refuse_incomplete(folder, {"unexpected_keys": unexpected, "missing_keys": missing})

    @classmethod
    def _refuse_incomplete(cls, folder: Any, report: dict[str, Any]) -> None:
        refuse_report(cls, folder, report)

    @classmethod
    def _explain_misfit(cls, unexpected: list[str], missing: list[str]) -> str:
        """What the user can do about weights without a place and places without weights."""
        return explain_misfit(unexpected, missing)

    @staticmethod
    def _load_pretrained_model(
        model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'; the model remembers only the rows of key maps that its weights came by."""
        with remembered_conversions(model, load_config) as load_config:
            return PreTrainedModel._load_pretrained_model(
                model, state_dict, checkpoint_files, load_config, *args, **kwargs
            )

    @staticmethod
    def _finalize_model_loading(model: Any, load_config: Any, loading_info: Any) -> Any:
        """As transformers', which draws what is missing at random, but no integers, as quantized weights are."""
        refuse_missing_integers(model, load_config, loading_info)
        return PreTrainedModel._finalize_model_loading(model, load_config, loading_info)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As PyTorch's; names of a saved folder are mapped to the modules' first, as `from_pretrained` maps them."""
        if not self.state_dict().keys() >= state_dict.keys():
            state_dict = under_own_names(self, dict(state_dict))
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """As transformers'; what was not quantized is listed by the names of the layout that is written.

        Raises:
            ValueError: weights are quantized in a way in which they cannot be joined, as the layout has them.
        """
        if kwargs.get("save_original_format", True):
            refuse_to_join(self)
        with listed_for_disk(self):
            super().save_pretrained(save_directory, **kwargs)

    def gather_sharded_state_dict_for_save(self, model_to_save: Any, *args: Any, **kwargs: Any) -> dict:
        """As transformers', which gathers tied weights one by one: they are one tensor again, and written once."""
        return tied_copies_joined(
            model_to_save, super().gather_sharded_state_dict_for_save(model_to_save, *args, **kwargs)
        )

    def _upload_modified_files(self, working_dir: Any, repo_id: str, *args: Any, **kwargs: Any) -> Any:
        """As transformers'; what is pushed brings a filled model card."""
        complete_upload(self, working_dir, repo_id, kwargs.get("revision"), kwargs.get("token"))
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def post_init(self) -> None:
        """As transformers'. `_no_split_modules` names only what the model has."""
        super().post_init()
        self._no_split_modules &= existing_blocks(self)

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the first weight that is on one."""
        return first_loaded_device(self)

    @classmethod
    def maybe_distribute_model(cls, model: Any, distributed_config: Any, mesh_manager: Any) -> Any:
        """As transformers', which calls this before it reads weights; scalars stay as they are until it has."""
        with scalars_aside(model):
            model = super().maybe_distribute_model(model, distributed_config, mesh_manager)
        register_fsdp_methods(model)
        return model

    def _resolve_parallel_plans(self, distributed_config: Any) -> Any:
        """As transformers', where the heads divide by the ranks; see `upstream.py`."""
        if distributed_config.tp_size > 1:
            self.tp_plan = with_whole_heads(self, self.tp_plan, distributed_config.tp_size)
        tp_plan, *others = super()._resolve_parallel_plans(distributed_config)
        if distributed_config.dp_size == 1:  # FSDP2 has hooks of its own, and calls transformers' once a step
            self._summed, tp_plan = split_summed(tp_plan)
        return tp_plan, *others

    def load_adapter(self, peft_model_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """As transformers'.

        Raises:
            ValueError: by its `adapter_config.json` the adapter would take too much time or memory; or as upstream's.
        """
        loading = kwargs.get("load_config")
        name = peft_model_id or getattr(loading, "pretrained_model_name_or_path", None)
        if name is not None and len(args) < 2 and kwargs.get("peft_config") is None:
            shared = {**(getattr(loading, "download_kwargs", None) or {}), **(kwargs.get("adapter_kwargs") or {})}
            check_adapter(name, self, hub_arguments({**shared, **kwargs}))
        return super().load_adapter(peft_model_id, *args, **kwargs)

    add_adapter = with_peft_check("add_adapter")
    set_adapter = with_peft_check("set_adapter")
    disable_adapters = with_peft_check("disable_adapters")
    enable_adapters = with_peft_check("enable_adapters")
    active_adapters = with_peft_check("active_adapters")
    get_adapter_state_dict = with_peft_check("get_adapter_state_dict")
    delete_adapter = with_peft_check("delete_adapter")


__all__ = ["InternVLPreTrainedModel"]
