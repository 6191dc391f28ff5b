//! `process/sigma-data-mismatch`

use crate::lint::{Call, Report, process_node};
use crate::words::short;
use archc_grammar::{Edit, Fix, Safety, Span};

/// Relative difference from which on it is reported.
const TOLERANCE: f64 = 0.2;

rule! {
    /// ## What it does
    ///
    /// Finds processes whose preconditioning or loss weighting is made for data of another standard deviation than the
    /// declared one, by more than a fifth.
    ///
    /// ## Why is this bad
    ///
    /// EDM's coefficients give the network input and target of unit variance when `sigma_data` is the standard deviation
    /// of the data. With the default 0.5 for data of deviation 1 the input has variance 4 at low noise, and the target
    /// variance 4 at high noise: the network has to undo at every level what its preconditioning got wrong.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process {
    ///         schedule: edm
    ///         prediction: x0
    ///         precondition: edm(sigma_data: 0.5)
    ///         weighting: edm(sigma_data: 0.5)
    ///         data_std: 1
    ///     }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process {
    ///         schedule: edm
    ///         prediction: x0
    ///         precondition: edm(sigma_data: 1)
    ///         weighting: edm(sigma_data: 1)
    ///         data_std: 1
    ///     }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Gives preconditioning and weighting the deviation of the data (unsafe: the network is trained for something else).
    ///
    /// ## References
    ///
    /// * Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, appendix B.6.
    /// * jhhuangchloe/DiffusionPDE#9: 0.5 for data scaled to [-1, 1].
    "process/sigma-data-mismatch", Warning
    pub struct SigmaDataMismatch {
        /// Where a deviation is assumed.
        assumed_at: Span,
        assumed: f64,
        data_at: Span,
        data: f64,
    }

    check(context) {
        let found = || {
            let declared = context.graph.process.as_ref()?;
            let process = &declared.process;
            let data = process.data_std?;
            let of_weighting = process.weighting.sigma_data().map(|sigma_data| ("weighting", sigma_data));
            let of_network = process.precondition.sigma_data().map(|sigma_data| ("precondition", sigma_data));
            let assumed = of_network.into_iter().chain(of_weighting);
            let (entry, assumed) = assumed.into_iter().find(|(_, assumed)| (assumed / data - 1.0).abs() > TOLERANCE)?;
            let finding = SigmaDataMismatch {
                assumed_at: declared.place(entry),
                assumed,
                data_at: declared.place("data_std"),
                data,
            };
            Some((process_node(context)?, finding))
        };
        found().into_iter().collect()
    }

    report(finding, _context) {
        let SigmaDataMismatch { assumed_at, assumed, data_at, data } = finding;
        let ratio = (data / assumed) * (data / assumed);
        Report {
            message: format!("made for data of deviation {}, but the data has {}", short(*assumed), short(*data)),
            labels: vec![
                (*assumed_at, format!("assumes {}", short(*assumed))),
                (*data_at, "declared here".to_owned()),
            ],
            notes: vec![format!(
                "the input of a network preconditioned so has variance {} at low noise, its target at high noise",
                short((ratio * 100.0).round() / 100.0)
            )],
            help: Some(format!("write `sigma_data: {}`, or scale the data", short(*data))),
        }
    }

    fixes(finding, context) {
        let Some(declared) = context.graph.process.as_ref() else { return vec![] };
        let entries = ["precondition", "weighting"].into_iter().filter_map(|name| declared.entry(name));
        let calls = entries.filter_map(|place| context.call(place)).filter(|call| *call.name == *"edm");
        // A hyperparameter stays one.
        let is_number = |call: &Call| call.argument("sigma_data").is_none_or(|text| text.parse::<f64>().is_ok());
        let edits: Vec<Edit> = calls.filter(is_number).map(|call| call.set("sigma_data", &short(finding.data))).collect();
        let title = format!("take a deviation of {}", short(finding.data));
        if edits.is_empty() { vec![] } else { vec![Fix::new(title, Safety::Unsafe, edits)] }
    }
}
