# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What we take from transformers, torch, accelerate, peft, huggingface-hub and TRL that nobody promises.

Names below a library's top level and names with an underscore move from one release to the next. A name that we import
would fail somewhere in the middle; a hook that we override would in silence never be called again. So all of them
stand in one table. `tests/test_compatibility.py` looks them up and finds uses in the source that the table lacks;
`tests/signatures.py` compares their arguments.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

# Modules that need a program which is not installed here: lmms-eval, for which `tests/evaluation/test_harnesses.py`
# stands in, VLMEvalKit, `python tests/evaluation/vlmevalkit_trial.py`, and gradio, `python -m tests.demo.browser`.
FOR_OTHER_PROGRAMS = {
    "transformers_internvl.demo.page",
    "transformers_internvl.demo.server",
    "transformers_internvl.evaluation.harnesses.lmms_eval",
    "transformers_internvl.evaluation.harnesses.vlmevalkit",
}

# Module -> names. `A.b` is an attribute. `A.b:c` is an attribute that only objects have: the code of the method `A.b`
# writes or reads `c`.
RELIED_ON: dict[str, str] = {
    "accelerate.utils": "convert_file_size_to_int get_max_memory",
    "accelerate.utils.modeling": "clean_device_map",
    "datasets.iterable_dataset": """
        BufferShuffledExamplesIterable IterableDataset.__init__:_distributed IterableDataset.__init__:_ex_iterable """,
    "huggingface_hub.constants": "HF_HOME",
    "huggingface_hub.dataclasses": "strict validate_typed_dict",
    "huggingface_hub.errors": "HFValidationError RemoteEntryNotFoundError RevisionNotFoundError",
    "huggingface_hub.utils": "httpx validate_repo_id",
    "peft.tuners.tuners_utils": "check_target_module_exists",
    "peft.utils.other": "ModulesToSaveWrapper",
    "peft.utils.save_and_load": "load_peft_weights",
    "torch": "_C.DisableTorchFunctionSubclass Tensor._make_wrapper_subclass Tensor._version UntypedStorage._cdata",
    "torch._subclasses.fake_tensor": "FakeTensor FakeTensorMode",
    "torch.nn": """
        Module.add_module:_modules Module.register_buffer:_buffers Module.register_buffer:_non_persistent_buffers_set
        Module.register_forward_hook:_forward_hooks Module.register_forward_pre_hook:_forward_pre_hooks
        Module.register_full_backward_hook:_backward_hooks
        Module.register_full_backward_pre_hook:_backward_pre_hooks Module.register_parameter:_parameters """,
    "torch.optim.lr_scheduler": "LRScheduler.get_last_lr:_last_lr",
    "torch.utils._python_dispatch": "TorchDispatchMode",
    "torch.utils._pytree": "tree_leaves tree_map_only",
    "transformers.activations": "ACT2FN",
    "transformers.cache_utils": "DynamicLayer DynamicSlidingWindowLayer",
    "transformers.cli.serving.chat_completion": """
        ChatCompletionHandler ChatCompletionHandler._build_generation_config
        ChatCompletionHandler._non_streaming ChatCompletionHandler._streaming
        ChatCompletionHandler._validate_request ChatCompletionHandler.handle_request """,
    "transformers.cli.serving.model_manager": "ModelManager ModelManager.list_models",
    "transformers.cli.serving.server": "build_server",
    "transformers.cli.serving.utils": """
        _StreamError BaseGenerateManager BaseGenerateManager.generate_non_streaming
        BaseGenerateManager.generate_streaming BaseGenerateManager.stop GenerationState InferenceThread
        set_torch_seed """,
    "transformers.configuration_utils": """
        PreTrainedConfig.__post_init__:_name_or_path PreTrainedConfig._attn_implementation SubConfigSpec """,
    "transformers.conversion_mapping": """
        get_checkpoint_conversion_mapping get_model_conversion_mapping register_checkpoint_conversion_mapping """,
    "transformers.core_model_loading": """
        apply_converters apply_renamings convert_and_load_state_dict_in_model:_weight_conversions
        dot_natural_key log_conversion_errors PrefixChange rename_source_key WeightRenaming WeightTransform
        WeightTransform._original_source_patterns WeightTransform._original_target_patterns
        WeightTransform._was_used WeightTransform.compiled_sources WeightTransform.copy
        WeightTransform.rename_source_key WeightTransform.reverse_transform WeightTransform.scope_prefix
        WeightTransform.was_used """,
    "transformers.distributed.mixin": """
        DistributedMixin._device_mesh DistributedMixin._fsdp_plan DistributedMixin._mesh_manager
        DistributedMixin._resolve_parallel_plans DistributedMixin._tp_plan
        DistributedMixin.gather_sharded_state_dict_for_save DistributedMixin.maybe_distribute_model """,
    "transformers.generation.candidate_generator": """
        AssistedCandidateGenerator CandidateGenerator PromptLookupCandidateGenerator """,
    "transformers.generation.configuration_utils": "GenerationConfig.__init__:_from_model_config GenerationMode",
    "transformers.generation.utils": """
        GenerationMixin._get_candidate_generator GenerationMixin._get_logits_processor
        GenerationMixin._get_stopping_criteria GenerationMixin._prefill
        GenerationMixin._prepare_position_ids_for_generation
        GenerationMixin._prepare_special_tokens:_eos_token_tensor
        GenerationMixin._update_model_kwargs_for_generation """,
    "transformers.image_processing_backends": "PilBackend._preprocess",
    "transformers.image_processing_utils": """
        BaseImageProcessor._preprocess_image_like_inputs BaseImageProcessor._standardize_kwargs
        BaseImageProcessor._validate_preprocess_kwargs """,
    "transformers.image_utils": """
        ChannelDimension ImageInput infer_channel_dimension_format is_valid_image make_flat_list_of_images
        PILImageResampling SizeDict validate_kwargs """,
    "transformers.initialization": "constant_ normal_ zeros_",
    "transformers.integrations": "get_reporting_integration_callbacks",
    "transformers.integrations.peft": """
        MIN_PEFT_VERSION PeftAdapterMixin.active_adapters PeftAdapterMixin.add_adapter
        PeftAdapterMixin.delete_adapter PeftAdapterMixin.disable_adapters PeftAdapterMixin.enable_adapters
        PeftAdapterMixin.get_adapter_state_dict PeftAdapterMixin.load_adapter PeftAdapterMixin.set_adapter """,
    "transformers.integrations.sdpa_attention": "repeat_kv sdpa_attention_forward",
    "transformers.masking_utils": """
        ALL_MASK_ATTENTION_FUNCTIONS create_causal_mask create_masks_for_generate create_sliding_window_causal_mask
        find_packed_sequence_indices sdpa_mask """,
    "transformers.modeling_outputs": """
        BackboneOutput BaseModelOutputWithPast BaseModelOutputWithPooling CausalLMOutputWithPast
        ImageClassifierOutput ModelOutput MultimodalBaseModelOutputWithPast MultimodalCausalLMOutputWithPast
        SemanticSegmenterOutput """,
    "transformers.modeling_utils": """
        ALL_ATTENTION_FUNCTIONS ModuleUtilsMixin.device PreTrainedModel._can_compile_fullgraph
        PreTrainedModel._can_record_outputs PreTrainedModel._init_weights
        PreTrainedModel._keys_to_ignore_on_load_unexpected PreTrainedModel._load_pretrained_model
        PreTrainedModel._no_split_modules PreTrainedModel._skip_keys_device_placement
        PreTrainedModel._supports_attention_backend PreTrainedModel._supports_flash_attn
        PreTrainedModel._supports_flex_attn PreTrainedModel._supports_sdpa PreTrainedModel._tied_weights_keys
        PreTrainedModel.get_input_embeddings PreTrainedModel.get_output_embeddings
        PreTrainedModel.loss_function.fset:_loss_function PreTrainedModel.post_init:all_tied_weights_keys
        PreTrainedModel.set_input_embeddings PreTrainedModel.set_output_embeddings
        PreTrainedModel._finalize_model_loading """,
    "transformers.models.auto": """
        auto_factory._BaseAutoBackboneClass.from_pretrained auto_factory._BaseAutoModelClass._model_mapping
        modeling_auto modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
        modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES processing_auto
        processing_auto.PROCESSOR_MAPPING_NAMES tokenization_auto
        tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS tokenization_auto.TOKENIZER_MAPPING_NAMES """,
    "transformers.models.auto.image_processing_auto": "IMAGE_PROCESSOR_MAPPING",
    "transformers.models.auto.modeling_auto": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "transformers.models.auto.tokenization_auto": "get_tokenizer_config",
    "transformers.models.auto.video_processing_auto": "VIDEO_PROCESSOR_MAPPING",
    "transformers.models.llama.modeling_llama": """
        LlamaAttention LlamaDecoderLayer LlamaMLP LlamaRMSNorm LlamaRotaryEmbedding """,
    "transformers.models.llava.image_processing_pil_llava": "LlavaImageProcessorPil._preprocess",
    "transformers.models.phi3.modeling_phi3": "Phi3RotaryEmbedding",
    "transformers.models.qwen3_moe.modeling_qwen3_moe": "load_balancing_loss_func",
    "transformers.processing_utils": """
        MultiModalData ProcessorMixin._get_arguments_from_pretrained ProcessorMixin._merge_kwargs Unpack """,
    "transformers.quantizers": "AutoQuantizationConfig",
    "transformers.quantizers.quantizers_utils": "should_convert_module",
    "transformers.tokenization_utils_base": """
        PreTrainedTokenizerBase._add_tokens PreTrainedTokenizerBase._get_padding_truncation_strategies
        TruncationStrategy PaddingStrategy PreTrainedTokenizerBase.__init__:_extra_special_tokens
        PreTrainedTokenizerBase.__init__:_special_tokens_map """,
    "transformers.tokenization_utils_tokenizers": """
        TokenizersBackend.__init__:_add_bos_token TokenizersBackend.__init__:_add_eos_token
        TokenizersBackend._decode TokenizersBackend._encode_plus TokenizersBackend._save_pretrained
        TokenizersBackend._tokenizer TokenizersBackend.convert_to_native_format
        TokenizersBackend.update_post_processor TokenizersBackend._convert_encoding """,
    "transformers.trainer": """
        Trainer.__init__:_signature_columns Trainer.__init__:_train_batch_size Trainer._prepare_inputs
        Trainer._save_rng_state Trainer._save_checkpoint Trainer._get_output_dir
        Trainer._set_signature_columns_if_needed PREFIX_CHECKPOINT_DIR OPTIMIZER_NAME SCALER_NAME
        SCHEDULER_NAME TRAINER_STATE_NAME safe_globals """,
    "transformers.trainer_utils": "EvalLoopOutput rotate_checkpoints",
    "transformers.utils": """
        cached_file can_return_tuple is_flash_attn_2_available is_torchdynamo_compiling is_tracing logging
        torch_compilable_check TransformersKwargs find_adapter_config_file """,
    "transformers.utils.chat_template_utils": """
        _compile_jinja_template _message_objects_to_dicts render_jinja_template """,
    "transformers.utils.deprecation": "deprecate_kwarg",
    "transformers.utils.generic": "can_return_tuple merge_with_config_defaults",
    "transformers.utils.hub": "hf_api PushToHubMixin._upload_modified_files resolve_revision",
    "transformers.utils.output_capturing": "capture_outputs",
    "transformers.video_processing_utils": """
        VideoProcessorMixin VideoProcessorMixin.fetch_videos VideoProcessorMixin.return_metadata
        VideoProcessorMixin.sample_frames """,
    "transformers.video_utils": "make_batched_videos VideoInput VideoMetadata VideoMetadata.timestamps",
    "trl": """
        GRPOTrainer.__init__:multi_objective_aggregation GRPOTrainer.__init__:num_generations_eval
        GRPOTrainer.__init__:reward_weights GRPOTrainer.__init__:scale_rewards GRPOTrainer._calculate_rewards
        GRPOTrainer._generate GRPOTrainer._generate_and_score_completions """,
}


def relied_on() -> Iterator[tuple[str, str]]:
    """(module, name) of every name in the table."""
    for module, names in RELIED_ON.items():
        for name in names.split():
            yield module, name


def look_up(module: str, name: str) -> Any:
    """What a name of the table stands for; of `A.b:c` it is the method `A.b`.

    Raises:
        ImportError, AttributeError: it is gone.
    """
    path, _, written = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if written and written not in found.__code__.co_names:
        raise AttributeError(f"{module}.{path} does not mention {written}")
    return found
