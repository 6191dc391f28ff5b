//! Mistakes that are made in published networks, with what ought to be found of them.

/// A way to break a published network.
pub struct Mutation {
    pub name: &'static str,
    /// The specs it is made in; all if there is none.
    pub specs: &'static [&'static str],
    /// What is written, and what is written instead.
    pub from: &'static str,
    pub to: &'static str,
    /// What ought to be found.
    pub expected: &'static [&'static str],
    /// What ought not to be.
    pub silent: &'static [&'static str],
}

/// A mistake with what ought to be found of it.
const fn mutation(
    name: &'static str,
    specs: &'static [&'static str],
    from: &'static str,
    to: &'static str,
    expected: &'static [&'static str],
) -> Mutation {
    Mutation { name, specs, from, to, expected, silent: &[] }
}

/// A change of which those rules have to be silent.
const fn harmless(
    name: &'static str,
    from: &'static str,
    to: &'static str,
    rules: &'static [&'static str],
) -> Mutation {
    Mutation { name, specs: &[], from, to, expected: &[], silent: rules }
}

/// A head that no longer starts at zero, which is no branch.
const fn headless(from: &'static str, to: &'static str) -> Mutation {
    let (expected, silent) = (&["init/nonzero-head"], &[MISSING_ZERO]);
    Mutation { name: "drop the zero start of a head", specs: &[], from, to, expected, silent }
}

/// Networks that are mutated.
pub const MUTATED: &[(&str, &str)] = &[
    (DIT, "dit_s_2"),
    (EDM, "edm_ddpmpp_cifar10"),
    (PIXART, "pixart_alpha"),
    (SD3, "sd3_medium"),
    (UVIT, "uvit_small"),
    ("specs/adm.arch", "adm_imagenet64"),
    ("specs/autoencoder_kl.arch", "sd_vae"),
    (CLIP, "openclip_bigg_text"),
    (DDPM, "ddpm_cifar10"),
    (EDM2, "edm2_xs"),
    (GAUSSIANS, "gaussians_s"),
    (POINT_E, "point_e_base_300m"),
    (STABLE, "sd15_unet"),
    (SVD, "svd_unet"),
];
const DIT: &str = "specs/dit.arch";
const EDM: &str = "specs/edm.arch";
const PIXART: &str = "specs/pixart.arch";
const SD3: &str = "specs/sd3.arch";
const UVIT: &str = "specs/uvit.arch";
const CLIP: &str = "specs/clip_text.arch";
const DDPM: &str = "specs/ddpm.arch";
const EDM2: &str = "specs/edm2.arch";
const GAUSSIANS: &str = "specs/gaussians.arch";
const POINT_E: &str = "specs/point_e.arch";
const STABLE: &str = "specs/stable_diffusion.arch";
const SVD: &str = "specs/svd.arch";

const WITHOUT_ONE: &str = "condition/modulation-without-one";
const MISSING_ZERO: &str = "init/missing-zero";
const SOFTMAX: &str = "gate by a softmax";
const FINAL: &str = "drop the final norm";
const BEHIND: &str = "normalise behind the sums";
const ALONE: &str = "modulate by the scale alone";

/// Each is made at every place where its text stands.
pub const MUTATIONS: &[Mutation] = &[
    mutation("drop the zero start of a branch", &[], "kv_init: kv, init: zero)", "kv_init: kv)", &[MISSING_ZERO]),
    mutation("drop a gate that starts at zero", &[DIT], "residual(gate: gate1)", "residual", &[MISSING_ZERO]),
    // Over a thousand Gaussians the branch starts small, which is remarked on.
    mutation(
        "drop a gate that starts at zero",
        &[GAUSSIANS],
        "residual(gate: gate1)",
        "residual",
        &[MISSING_ZERO, "attention/attenuates"],
    ),
    mutation(
        "drop a gate that starts at zero",
        &[DIT, GAUSSIANS],
        "residual(gate: gate2)",
        "residual",
        &[MISSING_ZERO],
    ),
    // The condition is so small that the gates are: all 24 branches together are predicted to add
    // 0.2 % to the stream.
    harmless("start gates near zero", "linear(6 * D, init: zero)", "linear(6 * D)", &[MISSING_ZERO]),
    // Neither ends a residual branch: 1 + a small scale in front of a head, and heads.
    harmless(
        "drop the zero start of a head's modulation",
        "linear(2 * D, init: zero)",
        "linear(2 * D)",
        &[MISSING_ZERO],
    ),
    headless("linear(features, init: zero)", "linear(features)"),
    headless("out, init: zero)", "out)"),
    // Scales that start at zero silence what is behind them, which in DiT ends at factors of zero as well.
    mutation(
        ALONE,
        &[DIT, GAUSSIANS],
        "-> modulate(shift1, scale1)",
        "-> { y => y * scale1 + shift1 }",
        &[WITHOUT_ONE, DEAD],
    ),
    mutation(
        ALONE,
        &[DIT, GAUSSIANS],
        "-> modulate(shift2, scale2)",
        "-> { y => y * scale2 + shift2 }",
        &[WITHOUT_ONE, DEAD],
    ),
    mutation(ALONE, &[DIT], "-> modulate(shift, scale)", "-> { y => y * scale + shift }", &[WITHOUT_ONE, DEAD]),
    // Queries alone are silenced, which still hear the mean of the values; and then their norm has nothing to divide by.
    mutation(
        ALONE,
        &[GAUSSIANS],
        "\n                -> modulate(shift, scale)",
        "\n                -> { y => y * scale + shift }",
        &[WITHOUT_ONE, "norm/eps-dominates"],
    ),
    mutation(
        ALONE,
        &[GAUSSIANS],
        "eps: 1e-6) -> modulate(shift, scale)",
        "eps: 1e-6) -> { y => y * scale + shift }",
        &[WITHOUT_ONE, DEAD],
    ),
    mutation(ALONE, &[PIXART, SD3], "-> modulate(shift1, scale1)", "-> { y => y * scale1 + shift1 }", &[WITHOUT_ONE]),
    mutation(ALONE, &[PIXART, SD3], "-> modulate(shift2, scale2)", "-> { y => y * scale2 + shift2 }", &[WITHOUT_ONE]),
    mutation(ALONE, &[SD3], "-> modulate(shift, scale)", "-> { y => y * scale + shift }", &[WITHOUT_ONE]),
    mutation("swap heads and their width", &[], "heads: 16", "heads: 128", &["attention/heads"]),
    mutation("swap heads and their width", &[], "heads: 6", "heads: 48", &["attention/heads"]),
    mutation(
        "predict the noise where none of the data is left",
        &[],
        "schedule: linear",
        "schedule: linear(zero_terminal_snr: true)",
        &["process/eps-at-zero-snr"],
    ),
    mutation(
        "weigh all levels alike",
        &[],
        "weighting: edm(sigma_data: sigma_data)",
        "weighting: uniform",
        &[IDENTITY],
    ),
    mutation(
        "weigh as for other data",
        &[EDM],
        "weighting: edm(sigma_data: sigma_data)",
        "weighting: edm(sigma_data: 1)",
        &["process/sigma-data-mismatch", IDENTITY],
    ),
    mutation(
        "precondition as for other data",
        &[EDM],
        "edm_preconditioning(sigma_data)",
        "edm_preconditioning(1)",
        &[IDENTITY],
    ),
    mutation(
        "start both factors at zero",
        &[DIT, GAUSSIANS],
        "Mlp(D * mlp_ratio, act: gelu_tanh)",
        "Mlp(D * mlp_ratio, act: gelu_tanh, out_init: zero)",
        &[DEAD],
    ),
    mutation(
        SOFTMAX,
        &[DIT, GAUSSIANS],
        "residual(gate: gate1)",
        "residual(gate: gate1 -> softmax())",
        &["gate/softmax-as-gates"],
    ),
    mutation(
        SOFTMAX,
        &[DIT, GAUSSIANS],
        "residual(gate: gate2)",
        "residual(gate: gate2 -> softmax())",
        &["gate/softmax-as-gates"],
    ),
    mutation(
        "add an epsilon of 1",
        &[DIT, GAUSSIANS, PIXART, SD3],
        "layer_norm(affine: false, eps: 1e-6)",
        "layer_norm(affine: false, eps: 1)",
        &["norm/eps-dominates"],
    ),
    // Branches start at zero, so that the stream keeps its variance without the factor.
    harmless(
        "do not scale the sums",
        "skip_scale: float = sqrt(0.5)",
        "skip_scale: float = 1",
        &[MISSING_ZERO, "residual/growth"],
    ),
    // 13 of 26 sums: fewer than the stacks that have been seen to diverge.
    harmless(
        "normalise behind the sum",
        "residual { layer_norm() @norm2 -> Mlp(D * mlp_ratio) @mlp }",
        "residual { Mlp(D * mlp_ratio) @mlp } -> layer_norm() @norm2",
        &["residual/deep-post-norm"],
    ),
    mutation(
        "drop the final norm",
        &[UVIT],
        "h -> layer_norm() @norm -> linear",
        "h -> linear",
        &["norm/missing-final"],
    ),
    // Coefficients and weight are those of other data, so that neither input nor target have unit variance.
    mutation("assume other data", &[], "data_std: 0.5", "data_std: 1", &["process/sigma-data-mismatch", IDENTITY]),
    mutation(
        FINAL,
        &[DDPM, STABLE, SVD],
        "group_norm(groups, eps: eps) @conv_norm_out -> ",
        "",
        &["norm/missing-final"],
    ),
    mutation(FINAL, &["specs/adm.arch"], "group_norm(groups, eps: eps) @out.0 -> ", "", &["norm/missing-final"]),
    mutation(FINAL, &[POINT_E], "h -> layer_norm() @ln_post", "h", &["norm/missing-final"]),
    mutation(FINAL, &[CLIP], "h -> layer_norm(eps: eps) @final_layer_norm", "h", &["norm/missing-final"]),
    mutation(
        FINAL,
        &[GAUSSIANS],
        "x -> layer_norm(affine: false, eps: 1e-6) -> modulate(shift, scale)",
        "x -> modulate(shift, scale)",
        &["norm/missing-final"],
    ),
    mutation(
        FINAL,
        &[PIXART],
        "h -> layer_norm(affine: false, eps: 1e-6)\n        -> modulate(shift + c, scale + c)",
        "h -> modulate(shift + c, scale + c)",
        &["norm/missing-final"],
    ),
    // 48 sums, all of them normalised behind: deeper than what trains.
    mutation(
        BEHIND,
        &[POINT_E],
        "x -> residual { layer_norm() @ln_1 -> Attention(heads) @attn }\n        -> residual { layer_norm() @ln_2 -> Mlp(4 * D, first: \"c_fc\", second: \"c_proj\") @mlp }",
        "x -> residual { Attention(heads) @attn } -> layer_norm() @ln_1\n        -> residual { Mlp(4 * D, first: \"c_fc\", second: \"c_proj\") @mlp } -> layer_norm() @ln_2",
        &["residual/deep-post-norm"],
    ),
    // Its maps start at a sixteenth of unit gain, so that the branches add next to nothing.
    harmless(
        "drop the norms in front of branches",
        "x -> residual { layer_norm() @ln_1 -> Attention(heads) @attn }\n        -> residual { layer_norm() @ln_2 -> Mlp",
        "x -> residual { Attention(heads) @attn }\n        -> residual { Mlp",
        &["residual/growth"],
    ),
    mutation(
        "add long skips as they are",
        &[UVIT],
        "skip long(fuse: concat)",
        "skip long(fuse: add)",
        &["skip/unnormalized-add"],
    ),
    mutation(
        "predict the noise where none of the data is left",
        &[DDPM, STABLE],
        "linear(start:",
        "linear(zero_terminal_snr: true, start:",
        &["process/eps-at-zero-snr"],
    ),
    mutation("do not scale the noisy input", &[EDM, EDM2], "(c_in * x) ->", "x ->", &["process/unscaled-ve-input"]),
    mutation(
        "divide the time by its range",
        // Where the range is known: by a process.
        &[DIT, PIXART, SD3, DDPM, STABLE, "specs/adm.arch"],
        "= timestep ->",
        "= (timestep / 1000) ->",
        &["process/degenerate-time-embedding"],
    ),
    // The head is one of them; and the streams that grow now differ from the skips whose groups they share.
    mutation(
        "start last layers like any other",
        &[DDPM],
        "xavier_uniform(gain: 1e-5)",
        "xavier_uniform",
        &[MISSING_ZERO, "init/nonzero-head", "skip/straddling-norm"],
    ),
    // Maps at a sixteenth of unit gain make small scores either way.
    harmless(
        "scale scores by nothing",
        "attention(q, k, v, heads: heads)",
        "attention(sqrt(D / heads) * q, k, v, heads: heads)",
        &["attention/logit-scale"],
    ),
    mutation(
        "scale scores by nothing",
        &[CLIP],
        "attention(q, k, v, heads: heads, causal: true)",
        "attention(sqrt(D / heads) * q, k, v, heads: heads, causal: true)",
        &["attention/logit-scale"],
    ),
    mutation(
        "forget the time",
        &[POINT_E],
        "x -> to_tokens() -> Trunk(concat(time, grid, along: tokens)",
        "x -> to_tokens() -> Trunk(grid",
        &["structure/unused-input", "structure/dead-node"],
    ),
    mutation(
        "bypass nothing",
        &[POINT_E],
        "residual { layer_norm() @ln_1 -> Attention(heads) @attn }",
        "layer_norm() @ln_1 -> Attention(heads) @attn",
        &["residual/missing-bypass"],
    ),
    mutation(
        "bypass nothing",
        &[UVIT],
        "residual { layer_norm() @norm1 -> Attention(heads, qkv_bias) @attn }",
        "layer_norm() @norm1 -> Attention(heads, qkv_bias) @attn",
        &["residual/missing-bypass"],
    ),
    mutation(
        "bypass nothing",
        &[CLIP],
        "residual { layer_norm(eps: eps) @layer_norm1 -> CausalAttention(heads, layers) @self_attn }",
        "layer_norm(eps: eps) @layer_norm1 -> CausalAttention(heads, layers) @self_attn",
        &["residual/missing-bypass"],
    ),
];
const DEAD: &str = "init/dead-product";
const IDENTITY: &str = "process/preconditioning-identity";
