"""The image tower of CLIP as transformers has it: `full/openclip_vit_h_vision.*` and `tiny/openclip_vit_h_vision/*`.

Needs torch, transformers and safetensors. Runs in the folder it stands in.
"""

import json
import math
import os

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

ID = "openclip_vit_h_vision"
CLASS = "CLIPVisionModelWithProjection"
SEED = 1601
FULL = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, projection_dim=1024,
            image_size=224, patch_size=14, hidden_act="gelu", layer_norm_eps=1e-5)
TINY = dict(FULL, hidden_size=48, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4, projection_dim=40,
            image_size=16, patch_size=4)
MIDDLE = ["vision_model.embeddings", "vision_model.pre_layrnorm", "vision_model.encoder.layers.0",
          "vision_model.encoder.layers.2"]
GRADIENTS = ["vision_model.embeddings.class_embedding", "vision_model.embeddings.patch_embedding.weight",
             "vision_model.embeddings.position_embedding.weight", "vision_model.pre_layrnorm.weight",
             "vision_model.encoder.layers.0.self_attn.q_proj.weight", "vision_model.encoder.layers.1.self_attn.out_proj.bias",
             "vision_model.encoder.layers.2.mlp.fc1.weight", "vision_model.post_layernorm.weight",
             "visual_projection.weight"]
FACTOR = 0.01


def build(config):
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**config, attn_implementation="eager")).eval()


def published(name):
    """Newer versions of transformers drop this prefix in memory, published files have it."""
    return name if name.startswith(("vision_model.", "visual_projection")) else f"vision_model.{name}"


def state(network):
    return {published(name): tensor for name, tensor in network.state_dict().items()}


def table(network, path):
    with open(path, "w") as file:
        for name, tensor in state(network).items():
            file.write(f"{name}\t{'x'.join(map(str, tensor.shape)) or 'scalar'}\tparam\n")


def counts(network):
    tensors = state(network)
    return dict(total_parameters=sum(t.numel() for t in tensors.values()), frozen_parameters=0,
                persistent_buffer_elements=0, state_dict_tensors=len(tensors))


def noise(network):
    """Norm scales around one with spread 0.1, biases of 0.1, and weights that keep the scale of what they map."""
    random = torch.Generator().manual_seed(SEED)
    for name, parameter in network.named_parameters():
        drawn = torch.randn(parameter.shape, generator=random)
        if "norm" in name or "layrnorm" in name:
            value = 0.1 * drawn + (1 if name.endswith("weight") else 0)
        elif parameter.dim() == 1:
            value = 0.1 * drawn if "bias" in name else drawn
        else:
            value = drawn / math.sqrt(parameter[0].numel()) if "embedding.weight" not in name or parameter.dim() > 2 \
                else 0.5 * drawn
        parameter.data.copy_(value)


def run(network, image):
    """Outputs and intermediate values."""
    seen, hooks = {}, []
    for name, module in network.named_modules():
        if published(name) in MIDDLE and name:
            keep = lambda module, _, out, name=published(name): seen.update(
                {f"mid.{name}": (out[0] if isinstance(out, tuple) else out).detach().clone()})
            hooks.append(module.register_forward_hook(keep))
    out = network(image).image_embeds[:, None]
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(MIDDLE), seen.keys()
    return {"out": out, **seen}


def write(tensors, name):
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, f"tiny/{ID}/{name}.safetensors", {"about": f"{ID}; transformers {CLASS}; seed {SEED}"})


def main():
    os.makedirs(f"tiny/{ID}", exist_ok=True)
    with torch.device("meta"):
        full = build(FULL)
    table(full, f"full/{ID}.tsv")
    about = dict(id=ID, source="transformers", **{"class": CLASS},
                 publication="Radford et al. 2021; OpenCLIP ViT-H/14, the image encoder of Stable Video Diffusion",
                 config=FULL, **counts(full))
    with open(f"full/{ID}.json", "w") as file:
        json.dump(about, file, indent=1)
        file.write("\n")

    network = build(TINY)
    noise(network)
    table(network, f"tiny/{ID}/tensors.tsv")
    write(state(network), "weights")
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(SEED + 1))
    io = run(network, image)
    loss = io["out"].square().mean()
    loss.backward()
    gradients = {published(name): parameter.grad for name, parameter in network.named_parameters()}
    small = {name: gradient for name, gradient in gradients.items()
             if gradient.abs().max() < 1e-5 * max(g.abs().max() for g in gradients.values())}
    zero = [name for name, gradient in small.items() if not gradient.any()]
    write({"in.pixel_values": image, **io, "loss": loss, **{f"grad.{name}": gradients[name] for name in GRADIENTS}}, "io")

    # What enters the norms is made small, so that their eps shows.
    scaled = [name for name, _ in network.named_parameters()
              if "embedding" in name or "out_proj" in name or "fc2" in name]
    for name in scaled:
        network.get_parameter(name).data.mul_(FACTOR)
    write({"in.pixel_values": image, **run(network, image)}, "io_small")

    config = dict(id=ID, source="transformers", **{"class": CLASS}, config=TINY, deviations_from_upstream=[], seed=SEED,
                  **counts(network), loss="mean(out ** 2) over all elements",
                  small_signal=dict(factor=FACTOR, scaled_tensors=[published(name) for name in scaled]),
                  zero_gradient_parameters=zero,
                  near_zero_gradient_parameters=[name for name in small if name not in zero])
    with open(f"tiny/{ID}/config.json", "w") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    print(f"std {io['out'].std():.3f}, loss {loss:.3f}")


if __name__ == "__main__":
    main()
