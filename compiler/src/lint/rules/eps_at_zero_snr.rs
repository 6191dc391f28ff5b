//! `process/eps-at-zero-snr`

use crate::lint::{Report, process_node};
use archc_grammar::{Edit, Fix, Safety, Span};
use archc_process::Prediction;

rule! {
    /// ## What it does
    ///
    /// Finds processes that divide by zero at their noisiest level: the noise is predicted, or the value is brought to
    /// the scale of its data, where nothing but noise is left.
    ///
    /// ## Why is this bad
    ///
    /// The data follows from a prediction of the noise as `x0 = (x - b * eps) / a`. With zero terminal SNR the last step
    /// has `a = 0`: predicting the noise there is copying the input, which says nothing about the data, and the first
    /// step of every sampler divides by zero. So do weights such as `min(SNR, gamma) / SNR`, and EDM's preconditioning,
    /// which is stated for `x / a`.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process { schedule: scaled_linear(zero_terminal_snr: true); prediction: eps }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process { schedule: scaled_linear(zero_terminal_snr: true); prediction: v }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Predicts `v`, or leaves `zero_terminal_snr` out in front of a preconditioning (unsafe: the network is trained for
    /// something else).
    ///
    /// ## References
    ///
    /// * Lin et al., *Common Diffusion Noise Schedules and Sample Steps are Flawed*, WACV 2024, section 3.2.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#3851: DDIM gives infinities at its first step with zero terminal SNR and a prediction of
    ///   the noise; with `v_prediction` it works.
    /// * huggingface/diffusers#5103: black images of SDXL with betas rescaled to zero SNR: the latents become infinite
    ///   in the step.
    /// * TiankaiHang/Min-SNR-Diffusion-Training#4: with such betas the weights of the loss are zero or infinite, and
    ///   the loss is NaN.
    ///
    /// ## To confirm
    ///
    /// `archc sample RUN --sampler ddim --spacing trailing --out samples.png` of a run of SPEC ends at its first step:
    /// "a prediction of the noise says nothing about the data where no signal is left".
    "process/eps-at-zero-snr", Error
    pub struct EpsAtZeroSnr {
        /// What divides by zero.
        place: Span,
        schedule: Span,
        why: Why,
        /// The preconditioning or the prediction.
        word: String,
    }

    check(context) {
        let found = || {
            let declared = context.graph.process.as_ref()?;
            let process = &declared.process;
            let noisiest = process.noisiest().ok()?;
            if noisiest.signal != 0.0 {
                return None;
            }
            let schedule = declared.place("schedule");
            let finding = |entry: &str, why: Why, word: String| {
                Some(EpsAtZeroSnr { place: declared.place(entry), schedule, why, word })
            };
            // What stands around the network divides the value by its signal.
            if process.precondition.sigma_data().is_some() {
                return finding("precondition", Why::Precondition, process.precondition.to_string());
            }
            if process.prediction == Prediction::Eps {
                return finding("prediction", Why::Prediction, Prediction::Eps.name().to_owned());
            }
            None
        };
        found().and_then(|finding| Some((process_node(context)?, finding))).into_iter().collect()
    }

    report(finding, _context) {
        let EpsAtZeroSnr { place, schedule, why, word } = finding;
        let (message, help) = match why {
            Why::Prediction => (
                "the noise is predicted where nothing but noise is left".to_owned(),
                "predict `v` or `x0`, or leave `zero_terminal_snr` out",
            ),
            Why::Precondition => (
                format!("`{word}` needs some signal at every level of noise"),
                "leave `zero_terminal_snr` out, or take the schedule `edm`",
            ),
        };
        Report {
            message,
            labels: vec![
                (*place, "divides by the signal".to_owned()),
                (*schedule, "ends without signal".to_owned()),
            ],
            notes: vec!["the data is `(x - b * eps) / a`, and `a` is 0 at the last step".to_owned()],
            help: Some(help.to_owned()),
        }
    }

    fixes(finding, context) {
        let predicts = context.reads(finding.place, "eps").then(|| Edit::new(finding.place, "v"));
        let velocity = predicts.map(|edit| Fix::new("predict `v`", Safety::Unsafe, vec![edit]));
        let ends = context.call(finding.schedule).and_then(|call| call.without("zero_terminal_snr"));
        let with_signal = ends.map(|edit| Fix::new("leave `zero_terminal_snr` out", Safety::Unsafe, vec![edit]));
        velocity.into_iter().chain(with_signal).collect()
    }
}

/// What divides by zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Prediction,
    Precondition,
}
