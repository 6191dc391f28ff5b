#!/usr/bin/env python3
"""Measures how small networks start: `tiny/ID/init.tsv` for those that came without one.

    python tests/reference/initialisers.py [--sources DIR] [ID ..]

Statistics of 48 seeded constructions of the configuration in `tiny/ID/config.json`, by

    openai/CLIP (commit d05afc4), model.py              clip_vit_l_text, openclip_bigg_text
    PixArt-alpha/PixArt-alpha (commit cac2fd3)          pixart_alpha
    diffusers 0.42.1                                    all others

with the names of transformers and diffusers. DIR holds checkouts of the first two, under the names of the
repositories. diffusers has not kept that the last layer of each branch starts at zero (`zero_module` in
CompVis/latent-diffusion and Stability-AI/generative-models), so `init` in `spec.yaml` compares with `last: default`.
"""

import argparse
import importlib.machinery
import json
import pathlib
import sys
import types

import torch

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "variants"))
from generate import statistics  # noqa: E402


def clip(config):
    from model import CLIP

    width, layers = config["hidden_size"], config["num_hidden_layers"]
    projection = config.get("projection_dim", width)
    model = CLIP(
        projection, 32, 1, 64, 32, config["max_position_embeddings"], config["vocab_size"], width,
        config["num_attention_heads"], layers,
    )
    state = model.state_dict()
    names = {
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.final_layer_norm.weight": state["ln_final.weight"],
        "text_model.final_layer_norm.bias": state["ln_final.bias"],
        "text_projection.weight": state["text_projection"].T,
    }
    parts = {"out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}
    for at in range(layers):
        own, theirs = f"text_model.encoder.layers.{at}.", f"transformer.resblocks.{at}."
        for kind in ["weight", "bias"]:
            fused = state[f"{theirs}attn.in_proj_{kind}"].chunk(3)
            for name, part in zip(["q_proj", "k_proj", "v_proj"], fused):
                names[f"{own}self_attn.{name}.{kind}"] = part
            for name, part in parts.items():
                block = {"out_proj": "self_attn.", "fc1": "mlp.", "fc2": "mlp."}.get(name, "")
                names[f"{own}{block}{name}.{kind}"] = state[f"{theirs}{part}.{kind}"]
    return names


def pixart(config):
    # Construction needs nothing of these.
    for name in ["xformers", "xformers.ops", "mmcv", "diffusion.model.builder", "diffusion.model.utils", "diffusion.utils.logger"]:
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules["xformers"].ops = sys.modules["xformers.ops"]
    registry = types.SimpleNamespace(register_module=lambda *_: lambda found: found)
    sys.modules["diffusion.model.builder"].MODELS = registry
    utils = sys.modules["diffusion.model.utils"]
    utils.auto_grad_checkpoint = utils.add_decomposed_rel_pos = None
    utils.to_2tuple = lambda x: (x, x)
    sys.modules["diffusion.utils.logger"].get_root_logger = None
    import timm.layers
    sys.modules["timm.models.layers"] = timm.layers
    from diffusion.model.nets.PixArt import PixArt

    width = config["num_attention_heads"] * config["attention_head_dim"]
    state = PixArt(
        input_size=config["sample_size"], patch_size=config["patch_size"], in_channels=config["in_channels"],
        hidden_size=width, depth=config["num_layers"], num_heads=config["num_attention_heads"],
        caption_channels=config["caption_channels"],
    ).state_dict()
    names = {"scale_shift_table": state["final_layer.scale_shift_table"]}
    parts = {
        "pos_embed.proj": "x_embedder.proj", "proj_out": "final_layer.linear", "adaln_single.linear": "t_block.1",
        "adaln_single.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "adaln_single.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "caption_projection.linear_1": "y_embedder.y_proj.fc1", "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    }
    for at in range(config["num_layers"]):
        own, theirs = f"transformer_blocks.{at}.", f"blocks.{at}."
        names[f"{own}scale_shift_table"] = state[f"{theirs}scale_shift_table"]
        parts |= {
            f"{own}attn1.to_out.0": f"{theirs}attn.proj", f"{own}attn2.to_q": f"{theirs}cross_attn.q_linear",
            f"{own}attn2.to_out.0": f"{theirs}cross_attn.proj", f"{own}ff.net.0.proj": f"{theirs}mlp.fc1",
            f"{own}ff.net.2": f"{theirs}mlp.fc2",
        }
        for kind in ["weight", "bias"]:
            for name, part in zip("qkv", state[f"{theirs}attn.qkv.{kind}"].chunk(3)):
                names[f"{own}attn1.to_{name}.{kind}"] = part
            for name, part in zip("kv", state[f"{theirs}cross_attn.kv_linear.{kind}"].chunk(2)):
                names[f"{own}attn2.to_{name}.{kind}"] = part
    for name, part in parts.items():
        for kind in ["weight", "bias"]:
            names[f"{name}.{kind}"] = state[f"{part}.{kind}"]
    return names


def diffusers(name, config):
    import diffusers

    # Networks of videos have 32 groups, which small ones do not; their number does not change how a norm starts.
    norm = torch.nn.GroupNorm.__init__
    torch.nn.GroupNorm.__init__ = lambda self, num_groups, num_channels, **rest: norm(self, 1, num_channels, **rest)
    own = {key: value for key, value in config.items() if key != "norm_num_groups" or "num_frames" not in config}
    own.pop("norm_num_groups", None)
    state = getattr(diffusers, name)(**own).state_dict()
    torch.nn.GroupNorm.__init__ = norm
    return state


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=pathlib.Path)
    parser.add_argument("ids", nargs="*")
    arguments = parser.parse_args()
    if arguments.sources:
        sys.path += [str(arguments.sources / "CLIP" / "clip"), str(arguments.sources / "PixArt-alpha")]
    ids = arguments.ids or [
        "clip_vit_l_text", "openclip_bigg_text", "pixart_alpha", "sd15_unet", "sd21_unet", "sdxl_base_unet",
        "sdxl_refiner_unet", "sd_vae", "svd_unet", "svd_vae", "sd3_medium", "sd35_medium",
    ]
    for id in ids:
        folder = HERE / "tiny" / id
        described = json.loads((folder / "config.json").read_text())
        name, config = described["class"], described["config"]
        own = [line.split("\t")[0] for line in (folder / "tensors.tsv").read_text().splitlines()]
        make = {"PixArtTransformer2DModel": pixart, "CLIPTextModel": clip, "CLIPTextModelWithProjection": clip}.get(name)
        state = (lambda: make(config)) if make else (lambda: diffusers(name, config))
        known = state()
        missing = [name for name in own if name not in known]
        assert not missing, f"{id}: {missing}"
        (folder / "init.tsv").write_text(statistics(lambda: {name: tensor for name, tensor in state().items() if name in own}))
        print(f"{id}: {len(own)} tensors")


if __name__ == "__main__":
    main()
