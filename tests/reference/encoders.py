"""Encoders of transformers: `full/ID.*` and `tiny/ID/*` for the networks below.

    python encoders.py [ID ..]

needs torch, transformers and safetensors, and runs in the folder it stands in.
"""

import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, T5Config, T5EncoderModel

FACTOR = 0.01


class ClipVision:
    """The image tower of CLIP with its projection."""

    id = "openclip_vit_h_vision"
    network = CLIPVisionModelWithProjection
    publication = "Radford et al. 2021; OpenCLIP ViT-H/14, the image encoder of Stable Video Diffusion"
    seed = 1601
    full = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16,
                projection_dim=1024, image_size=224, patch_size=14, hidden_act="gelu", layer_norm_eps=1e-5)
    tiny = dict(full, hidden_size=48, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4,
                projection_dim=40, image_size=16, patch_size=4)
    middle = ["vision_model.embeddings", "vision_model.pre_layrnorm", "vision_model.encoder.layers.0",
              "vision_model.encoder.layers.2"]
    gradients = ["vision_model.embeddings.class_embedding", "vision_model.embeddings.patch_embedding.weight",
                 "vision_model.embeddings.position_embedding.weight", "vision_model.pre_layrnorm.weight",
                 "vision_model.encoder.layers.0.self_attn.q_proj.weight",
                 "vision_model.encoder.layers.1.self_attn.out_proj.bias",
                 "vision_model.encoder.layers.2.mlp.fc1.weight", "vision_model.post_layernorm.weight",
                 "visual_projection.weight"]
    # What is made small, so that the eps of the norms behind it shows.
    small = ["embedding", "out_proj", "fc2"]

    def build(self, config):
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**config, attn_implementation="eager")).eval()

    def published(self, name):
        """Newer versions of transformers drop this prefix in memory, published files have it."""
        return name if name.startswith(("vision_model.", "visual_projection")) else f"vision_model.{name}"

    def divisor(self, name, parameter):
        """What normal numbers are divided by to make a weight."""
        is_table = "embedding.weight" in name and parameter.dim() == 2
        return 2 if is_table else math.sqrt(parameter[0].numel())

    def inputs(self, random):
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=random)}

    def out(self, network, inputs):
        return network(**inputs).image_embeds[:, None]


class T5:
    """The encoder of T5 v1.1."""

    id = "t5_v1_1_xxl"
    network = T5EncoderModel
    publication = "Raffel et al. 2020; T5 v1.1 XXL, the third text encoder of Stable Diffusion 3"
    seed = 1701
    full = dict(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
                relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.1,
                layer_norm_epsilon=1e-6, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    # Texts are so long that there are distances in most buckets, and some beyond the largest.
    tiny = dict(full, vocab_size=99, d_model=32, d_kv=12, d_ff=56, num_layers=3, num_heads=4,
                relative_attention_num_buckets=16, relative_attention_max_distance=12)
    middle = ["encoder.block.0.layer.0", "encoder.block.0", "encoder.block.1", "encoder.block.2"]
    gradients = ["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight",
                 "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                 "encoder.block.0.layer.0.layer_norm.weight", "encoder.block.1.layer.0.SelfAttention.k.weight",
                 "encoder.block.1.layer.1.DenseReluDense.wi_0.weight",
                 "encoder.block.2.layer.0.SelfAttention.v.weight", "encoder.block.2.layer.0.SelfAttention.o.weight",
                 "encoder.block.2.layer.1.DenseReluDense.wi_1.weight",
                 "encoder.block.2.layer.1.DenseReluDense.wo.weight", "encoder.final_layer_norm.weight"]
    small = ["shared", ".o.weight", ".wo.weight"]

    def build(self, config):
        return T5EncoderModel(T5Config(**config)).eval()

    def published(self, name):
        return name

    def divisor(self, name, parameter):
        """What normal numbers are divided by to make a weight; scores are not divided by the root of the width."""
        if "relative_attention_bias" in name:
            return 1
        return math.sqrt(parameter.shape[1]) * (self.tiny["d_kv"] ** 0.25 if name.endswith(("q.weight", "k.weight")) else 1)

    def inputs(self, random):
        return {"input_ids": torch.randint(0, 99, (2, 19), generator=random)}

    def out(self, network, inputs):
        return network(**inputs).last_hidden_state


def state(case, network):
    """What is stored, without what is stored under two names."""
    tensors = {case.published(name): tensor for name, tensor in network.state_dict().items()}
    return {name: tensor for name, tensor in tensors.items() if name != "encoder.embed_tokens.weight"}


def table(case, network, path):
    with open(path, "w") as file:
        for name, tensor in state(case, network).items():
            file.write(f"{name}\t{'x'.join(map(str, tensor.shape)) or 'scalar'}\tparam\n")


def counts(case, network):
    tensors = state(case, network)
    return dict(total_parameters=sum(t.numel() for t in tensors.values()), frozen_parameters=0,
                persistent_buffer_elements=0, state_dict_tensors=len(tensors))


def noise(case, network):
    """Norm scales around one with spread 0.1, biases of 0.1, and weights that keep the scale of what they map."""
    random = torch.Generator().manual_seed(case.seed)
    for name, parameter in network.named_parameters():
        drawn = torch.randn(parameter.shape, generator=random)
        if "norm" in name or "layrnorm" in name:
            value = 0.1 * drawn + (1 if name.endswith("weight") else 0)
        elif parameter.dim() == 1:
            value = 0.1 * drawn if "bias" in name else drawn
        else:
            value = drawn / case.divisor(name, parameter)
        parameter.data.copy_(value)


def run(case, network, inputs):
    """Outputs and intermediate values."""
    seen, hooks = {}, []
    for name, module in network.named_modules():
        if case.published(name) in case.middle and name:
            keep = lambda module, _, out, name=case.published(name): seen.update(
                {f"mid.{name}": (out[0] if isinstance(out, tuple) else out).detach().clone()})
            hooks.append(module.register_forward_hook(keep))
    out = case.out(network, inputs)
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(case.middle), seen.keys()
    return {"out": out, **seen}


def about(case):
    return dict(id=case.id, source="transformers", **{"class": case.network.__name__})


def write(case, tensors, name):
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    title = f"{case.id}; transformers {case.network.__name__}; seed {case.seed}"
    save_file(tensors, f"tiny/{case.id}/{name}.safetensors", {"about": title})


def save_json(value, path):
    with open(path, "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def full(case):
    with torch.device("meta"):
        network = case.build(case.full)
    table(case, network, f"full/{case.id}.tsv")
    described = dict(publication=case.publication, config=case.full, **counts(case, network))
    save_json(dict(**about(case), **described), f"full/{case.id}.json")


def tiny(case):
    os.makedirs(f"tiny/{case.id}", exist_ok=True)
    network = case.build(case.tiny)
    noise(case, network)
    table(case, network, f"tiny/{case.id}/tensors.tsv")
    write(case, state(case, network), "weights")
    inputs = case.inputs(torch.Generator().manual_seed(case.seed + 1))
    given = {f"in.{name}": value for name, value in inputs.items()}
    io = run(case, network, inputs)
    loss = io["out"].square().mean()
    loss.backward()
    gradients = {case.published(name): parameter.grad for name, parameter in network.named_parameters()}
    small = {name: gradient for name, gradient in gradients.items()
             if gradient.abs().max() < 1e-5 * max(g.abs().max() for g in gradients.values())}
    zero = [name for name, gradient in small.items() if not gradient.any()]
    write(case, {**given, **io, "loss": loss, **{f"grad.{name}": gradients[name] for name in case.gradients}}, "io")

    scaled = [name for name, _ in network.named_parameters() if any(part in name for part in case.small)]
    for name in scaled:
        network.get_parameter(name).data.mul_(FACTOR)
    write(case, {**given, **run(case, network, inputs)}, "io_small")

    described = dict(config=case.tiny, deviations_from_upstream=[], seed=case.seed, **counts(case, network),
                     loss="mean(out ** 2) over all elements",
                     small_signal=dict(factor=FACTOR, scaled_tensors=[case.published(name) for name in scaled]),
                     zero_gradient_parameters=zero,
                     near_zero_gradient_parameters=[name for name in small if name not in zero])
    save_json(dict(**about(case), **described), f"tiny/{case.id}/config.json")
    print(f"{case.id}: std {io['out'].std():.3f}, loss {loss:.3f}")


def main():
    for case in [ClipVision(), T5()]:
        if case.id in (sys.argv[1:] or [case.id]):
            full(case)
            tiny(case)


if __name__ == "__main__":
    main()
