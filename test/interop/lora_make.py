"""Makes adapters the way their users do: `get_peft_model` on a checkpoint, random factors, `save_pretrained`.

    python lora_make.py <folder with the checkpoints gpt2-f32 and llama-f32> <folder for the adapters>
"""

import sys
from pathlib import Path

import torch
import transformers as tf
from peft import LoraConfig, get_peft_model

# Together: both orientations, ranks and alphas by pattern, rslora, embeddings.
ADAPTERS = {
    "gpt2-one": (
        "gpt2-f32",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["c_attn", "c_proj", "c_fc"],
            "fan_in_fan_out": True,
            "rank_pattern": {"h.1.attn.c_attn": 6, r"mlp\.c_proj": 2},
            "alpha_pattern": {r"h\.\d+\.mlp\..*": 3},
        },
    ),
    "gpt2-two": ("gpt2-f32", {"r": 3, "lora_alpha": 6, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "llama-one": (
        "llama-f32",
        {
            "r": 4,
            "lora_alpha": 6,
            "use_rslora": True,
            "target_modules": ["q_proj", "v_proj", "down_proj", "embed_tokens"],
            "rank_pattern": {"layers.1.self_attn.q_proj": 7},
        },
    ),
    "llama-two": (
        "llama-f32",
        {"r": 2, "lora_alpha": 16, "target_modules": ["q_proj", "gate_proj"], "layers_to_transform": [0, 2, 11]},
    ),
}


def main() -> None:
    checkpoints, adapters = map(Path, sys.argv[1:])
    for seed, (name, (checkpoint, options)) in enumerate(ADAPTERS.items()):
        torch.manual_seed(seed)
        base = tf.AutoModelForCausalLM.from_pretrained(checkpoints / checkpoint)
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=True, **options))
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.1)
        model.save_pretrained(adapters / name, save_embedding_layers=False)


main()
