//! Words of the language that are neither operators nor blocks, as data: names, suggestions and the reference read it.
//! And how numbers are written where the compiler shows them.

/// A word that can be called or stand for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    pub name: &'static str,
    /// How it is written.
    pub form: &'static str,
    /// What it is; markdown.
    pub doc: &'static str,
}

const fn word(name: &'static str, form: &'static str, doc: &'static str) -> Word {
    Word { name, form, doc }
}

/// Functions of compile-time values.
pub const FUNCTIONS: &[Word] = &[
    word("abs", "abs(x)", "magnitude of a number"),
    word("assert", "assert(condition, \"why\")", "an error with that text where the condition does not hold"),
    word("ceil", "ceil(x)", "smallest whole number that is not below"),
    word("exp", "exp(x)", "exponential"),
    word("floor", "floor(x)", "largest whole number that is not above"),
    word("int", "int(x)", "a number without fraction as a whole number; an error if it has one"),
    word("len", "len(xs)", "number of items of a list or a range"),
    word("log", "log(x)", "natural logarithm"),
    word("max", "max(a, b, ..)", "largest of numbers, or of a list of them"),
    word("min", "min(a, b, ..)", "smallest of numbers, or of a list of them"),
    word("pow", "pow(base, exponent)", "power; whole where both are"),
    word("reversed", "reversed(xs)", "a list from its end; `for x, i in reversed(xs)` keeps the index of each item"),
    word("round", "round(x)", "nearest whole number, halves away from zero"),
    word("sqrt", "sqrt(x)", "square root; whole where the number is a square"),
    word("sum", "sum(xs)", "sum of a list of numbers"),
];

/// Stages that are words of the language rather than operators.
pub const STAGES: &[Word] = &[
    word(
        "chunk",
        "chunk(n, groups: g)",
        "a list of n equal parts of the channels; with `groups`, each of g equal groups of channels is cut in n, and the parts of a place are put together",
    ),
    word(
        "claim",
        "claim(within: [0, 1], rises: level)",
        "leaves its input as it is, and claims that its elements lie in an interval, that they rise with a number, or that they fall with one (`falls: sigma`), whatever the parameters become; what cannot be proved is reported",
    ),
    word("identity", "identity", "leaves its input as it is"),
    word("join", "join(long)", "fuses its input with the newest saved feature of a skip"),
    word(
        "learned",
        "learned(0.5, per: channel)",
        "multiplies by a learned factor that starts at a number: one for all, or one for each channel",
    ),
];

/// Distributions that parameters may start from.
pub const INITIALISERS: &[Word] = &[
    word("constant", "constant(value)", "every element has this value"),
    word("default", "default", "what an `init` statement or else the framework says"),
    word("kaiming_normal", "kaiming_normal(gain, fan_in, fan_out)", "normal, `gain / sqrt(fan_in)`"),
    word("kaiming_uniform", "kaiming_uniform(gain, fan_in, fan_out)", "uniform, bound `gain * sqrt(3 / fan_in)`"),
    word("normal", "normal(std, mean)", "normal; `std` is 1 and `mean` 0 unless given"),
    word("one", "one", "every element is one"),
    word(
        "sincos_table",
        "sincos_table(height, width, base, scale)",
        "fixed sines and cosines of the column and row of a grid; positions are indices, or `index * base / size / scale`",
    ),
    word("uniform", "uniform(low, high)", "uniform between two numbers"),
    word("values", "values(list)", "these numbers, one for each element"),
    word("xavier_normal", "xavier_normal(gain, fan_in, fan_out)", "normal, `gain * sqrt(2 / (fan_in + fan_out))`"),
    word(
        "xavier_uniform",
        "xavier_uniform(gain, fan_in, fan_out)",
        "uniform, bound `gain * sqrt(6 / (fan_in + fan_out))`",
    ),
    word("zero", "zero", "every element is zero"),
];

/// Options of a `residual`.
pub const RESIDUAL_OPTIONS: &[Word] = &[
    word("scale", "scale: 0.5", "multiplies the branch by a number or a tensor, or sends it through a stage"),
    word(
        "gate",
        "gate: g",
        "multiplies the branch by a tensor, or by what a stage makes of it, or of input and branch",
    ),
    word("shortcut", "shortcut: conv2d(64, kernel: 1)", "a stage that the input goes through before the sum"),
    word("after", "after: sqrt(0.5)", "as `scale`, of the sum"),
    word("drop", "drop: 0.1", "in training, leaves the branch out of a sample with this probability"),
];

/// Options of a `skip`.
pub const SKIP_OPTIONS: &[Word] = &[
    word("fuse", "fuse: concat", "how the decoder feature and the saved one become one: `concat`, `add`, or a block"),
    word("norm", "norm: group_norm(32)", "a stage that the saved feature goes through first"),
    word("scale", "scale: 0.7", "multiplies it by a number or a tensor, or sends it through a stage"),
    word("gate", "gate: g", "multiplies it by a tensor, or by what a stage makes of it, or of both features"),
    word(
        "renorm",
        "renorm: true",
        "divides the result by `sqrt(1 + factor^2)`, by what `expected(decoder, saved, correlation)` says, or sends it through a stage",
    ),
    word("filter", "filter: conv2d(64, kernel: 3)", "a second stage, behind `norm`"),
    word("drop", "drop: 0.05", "in training, leaves it out of a sample with this probability"),
];

/// What `renorm:` of a skip may be besides a truth value and a stage.
pub const EXPECTED: &str = "expected";

/// Settings of the sampler in a `denoise` of a pipeline.
pub const DENOISE_SETTINGS: &[Word] = &[
    word("sampler", "sampler: euler", "how steps are made, as `archc sample --sampler` names it"),
    word("steps", "steps: 50", "how many"),
    word(
        "guidance",
        "guidance: 7.5",
        "how far predictions are moved away from those of the negative prompt; 1 does not",
    ),
    word("first_guidance", "first_guidance: 1", "the same for the first frame of a video, whose last has `guidance`"),
    word("rescale", "rescale: 0.7", "share of a guided prediction that gets the deviation of the conditional one"),
    word("spacing", "spacing: leading", "which steps of a chain are visited: `linspace`, `leading`, `trailing`"),
    word("offset", "offset: 1", "added to every step that is visited, for `leading`"),
    word("karras", "karras: true", "spaces the steps of a chain as in EDM"),
    word("until", "until: 0.8", "share of the noise that is taken away here; the next `denoise` takes over"),
    word("negative", "negative: zero", "what texts are without a negative prompt: zeros, instead of the empty text"),
];

/// Entries of a `process`.
pub const PROCESS_ENTRIES: &[Word] = &[
    word("schedule", "schedule: cosine", "which levels of noise there are"),
    word("prediction", "prediction: v", "what the output of the network stands for"),
    word("precondition", "precondition: edm(sigma_data: 0.5)", "what stands around the network"),
    word("weighting", "weighting: min_snr(gamma: 5)", "how much the loss of each level of noise counts"),
    word(
        "channel_weights",
        "channel_weights: [1.2, 0.8]",
        "how much the squared error of each channel counts, as `archc sensitivity` measures it",
    ),
    word("times", "times: log_normal(mean: -1.2, std: 1.2)", "which levels of noise are trained on, and how often"),
    word("variance", "variance: learned_range", "the variance of the reverse steps of a chain"),
    word("data_std", "data_std: 0.5", "standard deviation of the data, where it is known"),
];

/// Noise schedules. Parameters stand in the parentheses of the form, in their order.
pub const SCHEDULES: &[Word] = &[
    word("linear", "linear(start, end, steps, zero_terminal_snr)", "variances of steps in equal distances"),
    word("scaled_linear", "scaled_linear(start, end, steps, zero_terminal_snr)", "squares of equal distances"),
    word("cosine", "cosine(offset, largest, steps, zero_terminal_snr)", "what is kept goes like a squared cosine"),
    word("ve", "ve(sigma_min, sigma_max)", "deviations in equal ratios, added to the data"),
    word("edm", "edm(sigma_min, sigma_max, rho)", "deviations whose `1/rho`-th powers have equal distances"),
    word("flow", "flow(shift, steps)", "the straight line from data to noise"),
];

/// What a network predicts, for `x = a * x0 + b * n`.
pub const PREDICTIONS: &[Word] = &[
    word("eps", "eps", "the noise `n`"),
    word("x0", "x0", "the data"),
    word("v", "v", "`a * n - b * x0`"),
    word("flow", "flow", "`n - x0`"),
];

/// What stands around a network.
pub const PRECONDITIONS: &[Word] = &[
    word("none", "none", "nothing; also where the model itself holds it"),
    word("edm", "edm(sigma_data)", "the coefficients of EDM for data of that deviation"),
];

/// How much the loss of a level of noise counts.
pub const WEIGHTINGS: &[Word] = &[
    word("uniform", "uniform", "all alike"),
    word("min_snr", "min_snr(gamma)", "an error of the data times `min(SNR, gamma)`"),
    word("p2", "p2(k, gamma)", "an error of the noise times `(k + SNR)^-gamma`"),
    word("edm", "edm(sigma_data)", "an error of the data times `(sigma^2 + sigma_data^2) / (sigma * sigma_data)^2`"),
    word("sigma_sqrt", "sigma_sqrt", "an error of the velocity times `1 / b^2`"),
    word("cosmap", "cosmap", "an error of the velocity times `2 / (pi * (a^2 + b^2))`"),
];

/// Which levels of noise are trained on.
pub const TIMES: &[Word] = &[
    word("uniform", "uniform", "all alike"),
    word("log_normal", "log_normal(mean, std)", "deviations whose logarithm is normal"),
    word("logit_normal", "logit_normal(mean, std)", "points of the line whose logit is normal"),
];

/// The variance of the reverse steps of a chain.
pub const VARIANCES: &[Word] = &[
    word("fixed_small", "fixed_small", "that of the posterior"),
    word("fixed_large", "fixed_large", "that of the step"),
    word("learned_range", "learned_range", "between the two, where a second half of the output says"),
];

/// Values with a name.
pub const CONSTANTS: &[Word] = &[
    word("inf", "inf", "infinity"),
    word("none", "none", "a tensor that is not there; `x == none` asks for it"),
    word("pi", "pi", "3.14159.."),
];

/// Types of parameters that are no tensors.
pub const TYPES: &[Word] = &[
    word("int", "int", "a whole number"),
    word("float", "float", "a number"),
    word("bool", "bool", "`true` or `false`"),
    word("string", "string", "a text in quotes"),
    word("stage", "stage", "a call that lacks its tensor: `gelu`, `group_norm(groups: 32)`, `{ h => .. }`"),
    word("init", "init", "an initialiser: `zero`, `normal(0.02)`"),
    word("skip", "skip", "a skip, so that a block can save to it or join it"),
    word("dim", "dim", "a size that may be known only when the model runs; a default is its typical value"),
    word("features", "features[C]", "a tensor of any layout with that many channels"),
];

/// The entry of a table.
pub fn find(table: &'static [Word], name: &str) -> Option<&'static Word> {
    table.iter().find(|word| word.name == name)
}

/// The names of a table.
pub fn names(table: &'static [Word]) -> impl Iterator<Item = &'static str> + Clone {
    table.iter().map(|word| word.name)
}

/// A number with at most six significant digits, without trailing zeros.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = libm::floor(libm::log10(value.abs()));
    if !(-4.0..9.0).contains(&magnitude) {
        let text = format!("{value:.5e}");
        let Some((mantissa, exponent)) = text.split_once('e') else { return text };
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        return format!("{mantissa}e{exponent}");
    }
    let decimals = (5.0 - magnitude).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A measured number with three digits.
pub fn figure(value: f64) -> String {
    let digits = format!("{value:.2e}");
    digits.parse().map_or(digits.clone(), short)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_print_short() {
        assert_eq!(short(0.02), "0.02");
        assert_eq!(short(1e-6), "1e-6");
        assert_eq!(short(1.0 / libm::sqrt(3.0)), "0.57735");
        assert_eq!(short(10000.0), "10000");
        assert_eq!(short(-2.5), "-2.5");
    }
}
