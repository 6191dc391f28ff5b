"""The variants, each of which differs from the released networks in something that the others do not."""

import dataclasses
import importlib
import json
import typing


@dataclasses.dataclass
class Variant:
    id: str
    """Module and class."""
    of: str
    config: dict
    """Shapes of normal numbers, or the values themselves."""
    inputs: dict
    """Model and inputs to outputs; the first is `out`."""
    run: typing.Callable
    """Prefixes of tensors that keep their values."""
    kept: tuple = ()
    """Spec, model and hyperparameters, where the configuration cannot be imported."""
    spec: dict = None
    """Makes the model, where that is not the class called with the configuration."""
    make: typing.Callable = None

    def found(self):
        module, name = self.of.rsplit(".", 1)
        return getattr(importlib.import_module(module), name)

    def build(self):
        found = self.found()
        return self.make(found, self.config) if self.make else found(**self.config)

    def prefix(self, model):
        """What the names of published checkpoints begin with, and those of transformers 5 no longer do."""
        return "text_model." if type(model).__name__ == "CLIPTextModel" else ""

    def written(self, model):
        """The configuration as it is published: what the class writes, or what it was called with."""
        if hasattr(model, "to_json_string"):
            return json.loads(model.to_json_string())
        if hasattr(model, "config") and hasattr(model.config, "to_dict"):
            written = model.config.to_dict()
            written["architectures"] = [type(model).__name__]
            return json.loads(json.dumps(written, default=str))
        name = self.of.rsplit(".", 1)[1]
        return {"class": name, **self.config}


VARIANTS: list[Variant] = []


def add(*arguments, **named):
    VARIANTS.append(Variant(*arguments, **named))


# ---- diffusers: UNet2DConditionModel

TEXT = {"sample": (2, 4, 8, 16), "timestep": [3.0, 801.0], "encoder_hidden_states": (2, 5, 12)}


def latent_unet(model, given):
    given = dict(given)
    added = {name: given.pop(name) for name in ("text_embeds", "time_ids") if name in given}
    out = model(
        given["sample"], given["timestep"], given["encoder_hidden_states"],
        class_labels=given.get("class_labels"), timestep_cond=given.get("timestep_cond"),
        added_cond_kwargs=added or None,
    )
    return {"out": out.sample}


def sd(id, config, **inputs):
    base = dict(
        block_out_channels=[8, 16, 24], norm_num_groups=4, cross_attention_dim=12, layers_per_block=1,
        attention_head_dim=2, sample_size=[8, 16],
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    )
    add(id, "diffusers.UNet2DConditionModel", base | config, TEXT | inputs, latent_unet)


sd("sd_layers", dict(
    layers_per_block=[2, 1, 3], transformer_layers_per_block=[1, 2, 3], attention_head_dim=[2, 4, 8],
    cross_attention_dim=[12, 12, 12], use_linear_projection=True,
))
sd("sd_cross_only", dict(only_cross_attention=[True, False, True], num_class_embeds=9), class_labels=[3, 8])
sd("sd_lopsided", dict(
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
))
sd("sd_each_block", dict(
    block_out_channels=[8, 16], down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], layers_per_block=2,
    transformer_layers_per_block=[1, [1, 2]], reverse_transformer_layers_per_block=[[3, 1, 2], 1],
    mid_block_type="UNetMidBlock2D",
))
sd("sd_no_middle", dict(mid_block_type=None, conv_in_kernel=5, conv_out_kernel=1, time_embedding_dim=20))
sd("sd_unclip", dict(class_embed_type="projection", projection_class_embeddings_input_dim=10), class_labels=(2, 10))
sd("sd_level", dict(class_embed_type="timestep"), class_labels=[10.0, 350.0])
sd("sd_concat", dict(
    class_embed_type="simple_projection", projection_class_embeddings_input_dim=10, class_embeddings_concat=True,
    act_fn="gelu", downsample_padding=0,
), class_labels=(2, 10))
sd("sd_identity", dict(
    class_embed_type="identity", resnet_time_scale_shift="scale_shift", flip_sin_to_cos=False, freq_shift=1,
), class_labels=(2, 32))
sd("sd_lcm", dict(
    time_cond_proj_dim=6, center_input_sample=True, timestep_post_act="silu", time_embedding_act_fn="silu",
    mid_block_scale_factor=1.5, dropout=0.1,
), timestep_cond=(2, 6))
sd("sd_kolors", dict(
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    encoder_hid_dim=18, encoder_hid_dim_type="text_proj", addition_embed_type="text_time",
    addition_time_embed_dim=4, projection_class_embeddings_input_dim=34,
), encoder_hidden_states=(2, 5, 18), text_embeds=(2, 10),
   time_ids=[[8.0, 16.0, 0.0, 2.0, 8.0, 16.0], [16.0, 8.0, 1.0, 0.0, 8.0, 8.0]])

# ---- diffusers: UNet2DModel


def pixel_unet(model, given):
    return {"out": model(given["sample"], given["timestep"], class_labels=given.get("class_labels")).sample}


def ddpm(id, config, **inputs):
    base = dict(
        block_out_channels=[8, 16, 24], norm_num_groups=4, layers_per_block=1, attention_head_dim=4, sample_size=[8, 16],
        down_block_types=["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    )
    given = {"sample": (2, 3, 8, 16), "timestep": [3.0, 801.0]} | inputs
    add(id, "diffusers.UNet2DModel", base | config, given, pixel_unet)


ddpm("ddpm_one_head", dict(attention_head_dim=None, in_channels=5, out_channels=2, layers_per_block=3),
     sample=(2, 5, 8, 16))
ddpm("ddpm_labels", dict(num_class_embeds=7, add_attention=False), class_labels=[0, 6])
ddpm("ddpm_lopsided", dict(
    down_block_types=["AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    up_block_types=["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"], downsample_padding=0,
    flip_sin_to_cos=False, freq_shift=1,
))
ddpm("ddpm_residual", dict(
    down_block_types=["ResnetDownsampleBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"],
    up_block_types=["ResnetUpsampleBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    downsample_type="resnet", upsample_type="resnet", resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2,
    class_embed_type="timestep", act_fn="gelu", mid_block_scale_factor=1.5, time_embedding_dim=20,
), class_labels=[10.0, 350.0])
ddpm("ddpm_no_middle", dict(mid_block_type=None, class_embed_type="identity", center_input_sample=True, act_fn="relu"),
     class_labels=(2, 32))

# ---- diffusers: autoencoders


def vae(model, given):
    posterior = model.encode(given["image"]).latent_dist
    z = posterior.mean + posterior.std * given["noise"]
    frames = {"num_frames": given["image"].shape[0]} if False else {}
    return {"out": model.decode(z, **frames).sample, "z": z}


def kl(id, config, image, noise):
    base = dict(norm_num_groups=4, block_out_channels=[8, 16], layers_per_block=1,
                down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, sample_size=16)
    add(id, "diffusers.AutoencoderKL", base | config, {"image": image, "noise": noise}, vae)


kl("vae_one_level", dict(
    block_out_channels=[8], down_block_types=["DownEncoderBlock2D"], up_block_types=["UpDecoderBlock2D"],
    latent_channels=3, in_channels=2, out_channels=1,
), (2, 2, 8, 4), (2, 3, 8, 4))
kl("vae_sd3", dict(
    latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, layers_per_block=3,
    mid_block_add_attention=False, shift_factor=0.0609, scaling_factor=1.5305,
), (2, 3, 8, 16), (2, 16, 4, 8))

# ---- diffusers: Stable Video Diffusion. Its norms have 32 groups.


def video_unet(model, given):
    out = model(given["sample"], given["timestep"], given["encoder_hidden_states"], given["added_time_ids"])
    return {"out": out.sample}


add("svd_layers", "diffusers.UNetSpatioTemporalConditionModel", dict(
    block_out_channels=[32, 64], down_block_types=["DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"],
    up_block_types=["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"], layers_per_block=[2, 1],
    transformer_layers_per_block=[2, 1], num_attention_heads=[2, 4], cross_attention_dim=12, num_frames=2,
    addition_time_embed_dim=4, projection_class_embeddings_input_dim=8, in_channels=6, out_channels=3,
), {"sample": (2, 2, 6, 4, 8), "timestep": [-0.5, 0.7], "encoder_hidden_states": (2, 1, 12),
    "added_time_ids": [[6.0, 127.0], [9.0, 0.02]]}, video_unet)


def video_vae(model, given):
    image = given["image"]
    batch, frames = image.shape[:2]
    posterior = model.encode(image.flatten(0, 1)).latent_dist
    z = posterior.mean + posterior.std * given["noise"].flatten(0, 1)
    out = model.decode(z, num_frames=frames).sample
    return {"out": out.unflatten(0, (batch, frames)), "z": z.unflatten(0, (batch, frames))}


add("svd_vae_deep", "diffusers.AutoencoderKLTemporalDecoder", dict(
    block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2, layers_per_block=3, latent_channels=3,
), {"image": (1, 3, 3, 8, 4), "noise": (1, 3, 3, 4, 2)}, video_vae)

# ---- diffusers: transformers


def labelled(model, given):
    return {"out": model(given["x"], given["timestep"].long(), given["y"]).sample}


def sd3(model, given):
    return {"out": model(
        given["hidden_states"], given["encoder_hidden_states"], given["pooled_projections"], given["timestep"],
    ).sample}


def mmdit(id, config, **inputs):
    base = dict(
        sample_size=8, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=3,
        joint_attention_dim=10, caption_projection_dim=24, pooled_projection_dim=14, out_channels=4, pos_embed_max_size=12,
    )
    given = {"hidden_states": (2, 4, 8, 12), "encoder_hidden_states": (2, 5, 10), "pooled_projections": (2, 14),
             "timestep": [20.0, 760.0]} | inputs
    add(id, "diffusers.SD3Transformer2DModel", base | config, given, sd3, kept=("pos_embed.pos_embed",))


mmdit("sd3_narrow", dict(patch_size=4, in_channels=6, out_channels=3, num_layers=1), hidden_states=(2, 6, 8, 16))
mmdit("sd3_dual", dict(qk_norm="rms_norm", dual_attention_layers=[0, 2]))
mmdit("sd3_dual_plain", dict(dual_attention_layers=[1], out_channels=None))


def pixart(model, given):
    added = {"resolution": given.get("resolution"), "aspect_ratio": given.get("aspect_ratio")}
    return {"out": model(
        given["hidden_states"], given["encoder_hidden_states"], given["timestep"],
        added_cond_kwargs=added, encoder_attention_mask=given["encoder_attention_mask"],
    ).sample}


def alpha(id, config, **inputs):
    base = dict(
        sample_size=8, patch_size=2, in_channels=4, out_channels=8, num_layers=2, attention_head_dim=8,
        num_attention_heads=3, cross_attention_dim=24, caption_channels=10,
    )
    given = {"hidden_states": (2, 4, 8, 8), "encoder_hidden_states": (2, 5, 10), "timestep": [20.0, 760.0],
             "encoder_attention_mask": [[1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]]} | inputs
    add(id, "diffusers.PixArtTransformer2DModel", base | config, given, pixart)


alpha("pixart_sigma", dict(sample_size=12, interpolation_scale=2, patch_size=1, out_channels=None, in_channels=3),
      hidden_states=(2, 3, 12, 12))
alpha("pixart_sizes", dict(use_additional_conditions=True), resolution=[[512.0, 384.0], [64.0, 1024.0]],
      aspect_ratio=[[0.75], [1.6]])

# ---- transformers: CLIP


def clip(model, given):
    out = model(given["input_ids"], output_hidden_states=True)
    if hasattr(out, "text_embeds"):
        return {"out": out.text_embeds, "last_hidden_state": out.last_hidden_state, "penultimate": out.hidden_states[-2]}
    return {"out": out.last_hidden_state, "pooled": out.pooler_output, "penultimate": out.hidden_states[-2]}


def text(id, name, config, ids):
    base = dict(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=7, bos_token_id=0, pad_token_id=1,
    )
    make = lambda found, config: found(importlib.import_module("transformers").CLIPTextConfig(**config))
    add(id, f"transformers.{name}", base | config, {"input_ids": ids}, clip, make=make)


text("clip_end", "CLIPTextModel", dict(hidden_act="gelu_new", eos_token_id=30, layer_norm_eps=1e-4),
     [[0, 35, 30, 1, 30], [0, 7, 9, 39, 30]])
text("clip_largest", "CLIPTextModelWithProjection", dict(
    hidden_act="relu", eos_token_id=2, projection_dim=6, num_hidden_layers=1,
), [[0, 35, 2, 39, 1, 39, 3], [0, 7, 9, 38, 2, 2, 2]])

# ---- openai/guided-diffusion. Its norms have 32 groups.


def adm(id, config, settings, **inputs):
    base = dict(
        image_size=16, in_channels=3, model_channels=32, out_channels=6, num_res_blocks=1, attention_resolutions=[2],
        channel_mult=[1, 2], num_heads=2,
    )
    given = {"x": (2, 3, 8, 16), "timestep": [3.0, 801.0]} | inputs
    run = lambda model, given: {"out": model(given["x"], given["timestep"], given.get("y"))}
    own = dict(width="32", mult="[1, 2]", attention="[false, true]", layers="1", head_width="0", heads="2", classes="0")
    add(id, "guided_diffusion.unet.UNetModel", base | config, given, run,
        spec=dict(spec="adm.arch", model="ADM", settings=own | settings))


adm("adm_plain", dict(conv_resample=False, in_channels=4, out_channels=2), dict(
    resize='"plain"', scale_shift="false", channels="4", out_channels="2",
), x=(2, 4, 8, 16))
adm("adm_conv", dict(
    channel_mult=[1, 2, 2], num_head_channels=16, num_heads=1, use_scale_shift_norm=True, num_classes=5,
    attention_resolutions=[1, 4], use_new_attention_order=True, num_res_blocks=2,
), dict(
    mult="[1, 2, 2]", head_width="16", resize='"conv"', classes="5", attention="[true, false, true]", layers="2",
    qkv_first="true",
), y=[4, 0])
adm("adm_heads", dict(resblock_updown=True, num_heads=4, num_heads_upsample=2, channel_mult=[0.5, 1], model_channels=64),
    dict(width="64", mult="[0.5, 1]", heads="4", heads_up="2", scale_shift="false"))

# ---- openai/point-e, with numbers in place of CLIP's


def point_e(id, name, config, inputs, settings, model, cond=()):
    class Features:
        feature_dim, grid_feature_dim, grid_size = 10, 12, 2

        def __init__(self, *_, **__):
            pass

        def __call__(self, embeddings, **_):
            return embeddings

    def make(found, config):
        import torch

        module = importlib.import_module(found.__module__)
        module.FrozenImageCLIP = Features
        return found(device=torch.device("cpu"), dtype=torch.float32, **config)

    def run(model, given):
        given = dict(given)
        return {"out": model(given.pop("x"), given.pop("timestep"), **given)}

    base = dict(input_channels=6, output_channels=12, width=24, layers=2, heads=3, time_token_cond=True, n_ctx=5)
    own = dict(width="24", layers="2", heads="3")
    add(id, f"point_e.models.transformer.{name}", base | config, {"timestep": [3.0, 801.0]} | inputs, run, make=make,
        kept=("channel_",), spec=dict(spec="point_e.arch", model=model, settings=own | settings))


point_e("point_e_vector", "CLIPImagePointDiffusionTransformer", dict(token_cond=True, input_channels=3, output_channels=3),
        {"x": (2, 3, 5), "embeddings": (2, 10)}, dict(channels="3", out="3", features="10"), "PointEVector")
point_e("point_e_upsample", "CLIPImageGridUpsamplePointDiffusionTransformer", dict(
    cond_ctx=3, channel_scales=[2.0, 2.0, 2.0, 0.007843137255, 0.007843137255, 0.007843137255],
    channel_biases=[0.0, 0.0, 0.0, -1.0, -1.0, -1.0],
), {"x": (2, 6, 5), "low_res": (2, 6, 3), "embeddings": (2, 12, 4)}, dict(features="12"), "PointEUpsample")

# ---- baofff/U-ViT and facebookresearch/DiT


def uvit(id, name, config, inputs, settings, model):
    def run(model, given):
        rest = {name: given[name] for name in ("y", "context") if name in given}
        return {"out": model(given["x"], given["timestep"], **rest)}

    base = dict(img_size=8, patch_size=2, in_chans=3, embed_dim=24, depth=2, num_heads=3)
    own = dict(size="8", patch="2", channels="3", dim="24", depth="2", heads="3")
    add(id, name, base | config, {"x": (2, 3, 8, 8), "timestep": [3.0, 801.0]} | inputs, run,
        spec=dict(spec="uvit.arch", model=model, settings=own | settings))


uvit("uvit_class", "libs.uvit.UViT", dict(num_classes=5, mlp_time_embed=True, conv=False, qkv_bias=True, depth=4),
     {"y": [0, 4]}, dict(classes="5", time_mlp="true", conv="false", qkv_bias="true", depth="4"), "UViTClass")
uvit("uvit_no_skip", "libs.uvit.UViT", dict(skip=False, patch_size=4, mlp_ratio=2, in_chans=2),
     {"x": (2, 2, 8, 8)}, dict(skips="false", patch="4", mlp_ratio="2", channels="2"), "UViT")
uvit("uvit_text", "libs.uvit_t2i.UViT", dict(clip_dim=10, num_clip_token=5), {"context": (2, 5, 10)},
     dict(text_dim="10", words="5"), "UViTText")


def dit(model, given):
    return {"out": model(given["x"], given["timestep"], given["y"])}


add("dit_mean", "models.DiT", dict(
    input_size=8, patch_size=4, in_channels=3, hidden_size=24, depth=2, num_heads=3, mlp_ratio=2.0, num_classes=5,
    learn_sigma=False,
), {"x": (2, 3, 8, 8), "timestep": [3.0, 801.0], "y": [0, 4]}, dit, kept=("pos_embed",), spec=dict(
    spec="dit.arch", model="DiT",
    settings=dict(size="8", patch="4", channels="3", out_channels="3", dim="24", depth="2", heads="3", mlp_ratio="2",
                  classes="5"),
))
