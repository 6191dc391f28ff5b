#!/usr/bin/env python3
"""Makes small folders of the published pipelines, with what diffusers makes of them.

    python tests/reference/pipelines/generate.py [ID ..]

needs torch, diffusers, transformers and tokenizers. For each pipeline there is a folder as `save_pretrained` writes it,
with random weights, and beside its networks

    expected.safetensors   `noise`, what it starts from; `ids.TOKENIZER`, the prompt in the ids of a tokenizer;
                           `latents`, what the last network leaves; `samples`, what the decoder makes of it

`schedulers` holds configurations for the folder of `sd15`, and in `latents.safetensors` what its network leaves with each.

Prompts and settings are those of the tests, in `cli/tests/pipelines.rs`.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    StableVideoDiffusionPipeline,
    UNet2DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as video
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

FOLDER = pathlib.Path(__file__).parent
PROMPT = "A CAT's  photo, 42 café, by the sea"
NEGATIVE = "blurry"
# Words that the vocabulary knows besides single bytes.
WORDS = ["cat", "photo", "the", "sea", "by", "a", "blurry"]


def vocabulary():
    """Bytes, bytes at the end of a word, what the merges of WORDS make, start and end, as in openai/CLIP."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens, merges = letters + [letter + "</w>" for letter in letters], []
    for word in WORDS:
        left = word[0]
        for at, letter in enumerate(word[1:], 1):
            right = letter + ("</w>" if at + 1 == len(word) else "")
            if (left, right) not in merges:
                merges.append((left, right))
                tokens.append(left + right)
            left += right
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: at for at, token in enumerate(tokens)}, merges


def tokenizer(pad="<|endoftext|>"):
    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77)


def t5_tokenizer():
    """Pieces of words with their logarithms of probabilities, as sentencepiece has them."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -6.0 - 0.1 * at) for at, letter in enumerate("abcdefghijklmnopqrstuvwxyzA',4")]
    # Two ways to cut a word, of which the likelier one counts.
    pieces += [("\u2581" + word, -4.0) for word in WORDS] + [("ph", -5.0), ("oto", -5.0), ("\u2581pho", -4.5), ("to", -3.0)]
    return T5TokenizerFast(vocab=pieces, extra_ids=2, model_max_length=512)


def t5_config(**given):
    sizes = {"d_model": 64, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    ids = {"vocab_size": 64, "relative_attention_num_buckets": 16, "relative_attention_max_distance": 40}
    return T5Config(feed_forward_proj="gated-gelu", tie_word_embeddings=False, **sizes, **ids, **given)


def named_as_published(path):
    """Names as transformers wrote them up to version 4."""
    tensors = load_file(path)
    save_file({f"text_model.{name}": tensor for name, tensor in tensors.items()}, path)


def published(folder, pad="<|endoftext|>"):
    """Writes a tokenizer as the published folders have it: vocabulary and merges, no `tokenizer.json`."""
    shutil.rmtree(folder)
    folder.mkdir()
    vocab, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    settings = {"model_max_length": 77, "pad_token": pad, "tokenizer_class": "CLIPTokenizer", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def random(network, seed):
    """Weights that leave no branch silent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                spread = parameter[0].numel() ** -0.5 if "embedding" not in name else 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            else:
                centre = 1.0 if name.endswith("weight") else 0.0
                parameter.copy_(centre + 0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def text_config(**given):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    ids = {"vocab_size": len(vocabulary()[0]), "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    return CLIPTextConfig(**{**sizes, **ids, "projection_dim": 16, **given})


def autoencoder(channels=4, **given):
    levels = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    sizes = {"block_out_channels": [8, 8, 12, 12], "layers_per_block": 1, "norm_num_groups": 4}
    return AutoencoderKL(latent_channels=channels, sample_size=64, **levels, **sizes, **given)


def unet(levels, widths, **given):
    return UNet2DConditionModel(
        sample_size=8,
        down_block_types=levels,
        up_block_types=[level.replace("Down", "Up") for level in reversed(levels)],
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=8,
        **given,
    )


CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
CHAIN = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def euler(**given):
    return EulerDiscreteScheduler(timestep_spacing="leading", **CHAIN, **given)


def save(pipeline, folder, prompt, expected, pads):
    for name, length in {"tokenizer": 77, "tokenizer_2": 77, "tokenizer_3": 256}.items():
        own = getattr(pipeline, name, None)
        if own is not None:
            ids = own(prompt, padding="max_length", max_length=length, return_tensors="np").input_ids
            expected[f"ids.{name}"] = torch.from_numpy(ids).long()
    pipeline.save_pretrained(folder)
    for name, pad in pads.items():
        if pad is not None:
            published(folder / name, pad)
    if "sd15" in folder.name:
        named_as_published(folder / "text_encoder" / "model.safetensors")
    for path in [folder / "model_index.json", *folder.glob("safety_checker"), *folder.glob("feature_extractor")]:
        path.unlink()


def finish(folder, expected, name="expected"):
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, folder / f"{name}.safetensors")


def decoded(pipeline, left):
    shift = pipeline.vae.config.shift_factor or 0.0
    return pipeline.vae.decode(left / pipeline.vae.config.scaling_factor + shift).sample


def noise(channels=4):
    return torch.randn((1, channels, 8, 16), generator=torch.Generator().manual_seed(7))


def checked(pipeline, image, **given):
    """The pipeline's own image is the same, limited to what a picture shows."""
    own = pipeline(output_type="pt", **given).images
    assert torch.allclose(own, (image / 2 + 0.5).clamp(0, 1), atol=1e-5)


def assembled(prediction, act, **given):
    levels, widths = [CROSS, CROSS, CROSS, PLAIN], [8, 8, 16, 16]
    return StableDiffusionPipeline(
        vae=random(autoencoder(), 1),
        text_encoder=random(CLIPTextModel(text_config(hidden_act=act)), 2),
        tokenizer=tokenizer(given["pad"]),
        unet=random(unet(levels, widths, cross_attention_dim=16, **given["unet"]), 3),
        scheduler=euler(prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion(folder, prompt, prediction, act, **given):
    pipeline = assembled(prediction, act, **given)
    order = {"prompt": prompt, "height": 64, "width": 128, "num_inference_steps": 5, **given["order"]}
    start = noise()
    left = pipeline(latents=start.clone(), output_type="latent", **order).images
    image = decoded(pipeline, left)
    checked(pipeline, image, latents=start.clone(), **order)
    expected = {"noise": start, "latents": left, "samples": image}
    save(pipeline, folder, prompt, expected, {"tokenizer": given["pad"]})
    finish(folder, expected)


SD15 = {"prediction": "epsilon", "act": "quick_gelu", "pad": "<|endoftext|>", "unet": {"attention_head_dim": 2}}


def sd15(folder):
    stable_diffusion(folder, PROMPT, order={"negative_prompt": NEGATIVE, "guidance_scale": 7.5}, **SD15)


def sd21(folder):
    heads = {"attention_head_dim": [1, 1, 2, 2], "use_linear_projection": True}
    stable_diffusion(folder, "Wow!! The cat's", "v_prediction", "gelu", pad="!", unet=heads, order={"guidance_scale": 5.0})


def sdxl(folder):
    """The base model, alone with a negative prompt, and with the refiner, which stands in a folder of the first."""
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True}
    levels = [PLAIN, CROSS, CROSS]
    heads = {"attention_head_dim": [1, 1, 2], "transformer_layers_per_block": [1, 1, 2]}
    network = unet(levels, [8, 16, 16], cross_attention_dim=32, projection_class_embeddings_input_dim=64, **added, **heads)
    second = random(CLIPTextModelWithProjection(text_config(hidden_act="gelu")), 4)
    vae = random(autoencoder(scaling_factor=0.13025), 1)
    base = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=random(CLIPTextModel(text_config()), 2),
        text_encoder_2=second,
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer("!"),
        unet=random(network, 3),
        scheduler=euler(),
        add_watermarker=False,
    )
    levels = [PLAIN, CROSS, CROSS, PLAIN]
    heads = {"attention_head_dim": [1, 1, 2, 2], "transformer_layers_per_block": [1, 2, 2, 1]}
    widths = [8, 8, 16, 16]
    network = unet(levels, widths, cross_attention_dim=16, projection_class_embeddings_input_dim=56, **added, **heads)
    refiner = StableDiffusionXLImg2ImgPipeline(
        vae=vae,
        text_encoder=None,
        text_encoder_2=second,
        tokenizer=None,
        tokenizer_2=base.tokenizer_2,
        unet=random(network, 5),
        scheduler=euler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    start = noise()
    shape = {"prompt": PROMPT, "height": 64, "width": 128, "num_inference_steps": 6, "output_type": "latent"}
    left = base(latents=start.clone(), negative_prompt=NEGATIVE, guidance_scale=5.0, **shape).images
    alone = {"noise": start, "latents": left, "samples": decoded(base, left)}
    noisy = base(latents=start.clone(), guidance_scale=5.0, denoising_end=0.8, **shape).images
    shape = {"prompt": PROMPT, "num_inference_steps": 6, "output_type": "latent"}
    left = refiner(image=noisy, guidance_scale=5.0, denoising_start=0.8, **shape).images
    expected = {"noise": start, "latents": left, "samples": decoded(base, left)}
    save(base, folder, PROMPT, expected, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"})
    for name, part in {"unet": refiner.unet, "scheduler": refiner.scheduler}.items():
        part.save_pretrained(folder / "refiner" / name)
    finish(folder, expected)
    finish(folder, alone, "expected_base")


def sd3(folder):
    """With T5, and without it, where diffusers has zeros in its place."""
    network = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=64,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=12,
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=random(network, 3),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=random(autoencoder(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False), 1),
        text_encoder=random(CLIPTextModelWithProjection(text_config()), 2),
        tokenizer=tokenizer(),
        text_encoder_2=random(CLIPTextModelWithProjection(text_config(hidden_act="gelu")), 4),
        tokenizer_2=tokenizer("!"),
        text_encoder_3=random(T5EncoderModel(t5_config()), 5),
        tokenizer_3=t5_tokenizer(),
    )
    start = noise(16)
    order = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "height": 64, "width": 128, "num_inference_steps": 4}
    order["guidance_scale"] = 7.0

    def made():
        left = pipeline(latents=start.clone(), output_type="latent", **order).images
        image = decoded(pipeline, left)
        checked(pipeline, image, latents=start.clone(), **order)
        return {"noise": start, "latents": left, "samples": image}

    expected = made()
    save(pipeline, folder, PROMPT, expected, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"})
    finish(folder, expected)
    pipeline.text_encoder_3 = pipeline.tokenizer_3 = None
    finish(folder, made(), "expected_without_t5")


# What the pipeline makes of an image for CLIP, where it always asks for 224 x 224 pixels.
resize = video._resize_with_antialiasing
# Sizes to resize to, from 13 x 40: one axis or both are smoothed, or none.
SIZES = [(5, 7), (13, 9), (1, 3), (20, 50), (4, 40)]


def svd(folder):
    """In 16 bits, as it is published. The tower that sees the image is one for 8 x 8 pixels."""
    network = UNetSpatioTemporalConditionModel(
        sample_size=8,
        down_block_types=["CrossAttnDownBlockSpatioTemporal"],
        up_block_types=["CrossAttnUpBlockSpatioTemporal"],
        block_out_channels=[32],
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=16,
        num_attention_heads=[2],
        num_frames=3,
    )
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=["DownEncoderBlock2D"] * 2, block_out_channels=[32, 32], layers_per_block=1, sample_size=16
    )
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower = CLIPVisionConfig(**sizes, projection_dim=16, image_size=8, patch_size=4, hidden_act="gelu")
    levels = {"sigma_min": 0.002, "sigma_max": 700.0, "use_karras_sigmas": True, "timestep_type": "continuous"}
    pipeline = StableVideoDiffusionPipeline(
        vae=random(vae, 1).half().float(),
        image_encoder=random(CLIPVisionModelWithProjection(tower), 2).half().float(),
        unet=random(network, 3).half().float(),
        scheduler=euler(prediction_type="v_prediction", **levels),
        feature_extractor=CLIPImageProcessor(),
    )
    video._resize_with_antialiasing = lambda image, _: resize(image, (tower.image_size, tower.image_size))
    draw = torch.Generator().manual_seed(5)
    picture = Image.fromarray(torch.randint(256, (16, 32, 3), generator=draw, dtype=torch.uint8).numpy())
    image = pipeline.video_processor.preprocess(picture, height=16, width=32)
    start = torch.randn((1, 3, 4, 8, 16), generator=draw)
    order = {"height": 16, "width": 32, "num_frames": 3, "num_inference_steps": 4, "output_type": "latent"}
    seeded = torch.Generator().manual_seed(9)
    augmentation = torch.randn(image.shape, generator=torch.Generator().manual_seed(9))
    left = pipeline(picture, latents=start.clone(), generator=seeded, **order).frames
    frames = pipeline.decode_latents(left, 3, 3).permute(0, 2, 1, 3, 4)
    expected = {"noise": start, "latents": left, "samples": frames, "image": image, "augmentation": augmentation}
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    for name in ["unet", "vae", "image_encoder"]:
        getattr(pipeline, name).half().save_pretrained(folder / name, variant="fp16")
    finish(folder, expected)
    image = torch.randn((2, 3, 13, 40), generator=draw)
    resized = {f"{height}x{width}": resize(image, (height, width)) for height, width in SIZES}
    finish(folder, {"image": image, **resized}, "resized")


def schedulers(folder):
    """What diffusers makes with other schedulers than that of the folder of `sd15`, but for those that draw noise."""
    pipeline = assembled(**SD15)
    latent = {"set_alpha_to_one": False, "clip_sample": False}
    karras = {"use_karras_sigmas": True, **CHAIN}
    cases = {
        # As Stable Diffusion 1.5 is published: the file does not say what was the only way at its time.
        "pndm": PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=False, **CHAIN),
        "ddim": DDIMScheduler(**latent, **CHAIN),
        "ddim_trailing": DDIMScheduler(timestep_spacing="trailing", clip_sample=False, **CHAIN),
        "euler_karras": EulerDiscreteScheduler(timestep_spacing="leading", **karras),
        "heun": HeunDiscreteScheduler(timestep_spacing="trailing", **CHAIN),
        "dpm": DPMSolverMultistepScheduler(**CHAIN),
        "dpm_leading": DPMSolverMultistepScheduler(timestep_spacing="leading", **CHAIN),
        "dpm_karras": DPMSolverMultistepScheduler(timestep_spacing="leading", **karras),
    }
    start = noise()
    left = {"noise": start}
    for name, scheduler in cases.items():
        pipeline.scheduler = scheduler
        order = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 7.5, "height": 64, "width": 128}
        left[name] = pipeline(latents=start.clone(), num_inference_steps=5, output_type="latent", **order).images
        folder.mkdir(exist_ok=True)
        config = scheduler.to_json_string()
        if name == "pndm":
            early = {key: own for key, own in json.loads(config).items() if key not in ("prediction_type", "timestep_spacing")}
            config = json.dumps(early, indent=2) + "\n"
        (folder / f"{name}.json").write_text(config)
    save_file(left, folder / "latents.safetensors")


def main():
    torch.set_grad_enabled(False)
    for name in sys.argv[1:] or ["sd15", "sd21", "sdxl", "sd3", "svd", "schedulers"]:
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        globals()[name](folder)
        print(name, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
