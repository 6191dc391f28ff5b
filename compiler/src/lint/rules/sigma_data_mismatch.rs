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
    /// declared one, by more than a fifth. Data is declared in the process, `data_std`, and in `archc.yaml`,
    /// `statistics: { data: { std: .. } }`; the latter is what the data was measured to have, and `data_std` has to agree
    /// with it.
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
    ///
    /// ## Threads
    ///
    /// * intuitive-robots/beso#3: 0.5 is used for data of deviation 0.33; the author had not known that the two are
    ///   related.
    /// * crowsonkb/k-diffusion#10: images in [-1, 1] mostly have a deviation around 0.5; data of high contrast is to be
    ///   measured, says the author.
    /// * jhhuangchloe/DiffusionPDE#9: a user asks why it is 0.5 for data scaled to [-1, 1]; the author holds that it
    ///   does not depend on the data.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` says which deviation of data the preconditioning is for; that of the training data, on the
    /// scale that the network is given, has to be the same number.
    "process/sigma-data-mismatch", Warning
    pub struct SigmaDataMismatch {
        /// What a deviation is assumed in: an argument of a call, or an entry of the process.
        name: &'static str,
        assumed_at: Span,
        assumed: f64,
        /// Where that of the data is declared; none in `archc.yaml`.
        data_at: Option<Span>,
        data: f64,
    }

    check(context) {
        let found = || {
            let declared = context.graph.process.as_ref()?;
            let process = &declared.process;
            let measured = context.given.inputs.data.map(|data| data.std);
            let data = measured.or(process.data_std)?;
            let of_network = process.precondition.sigma_data().map(|sigma_data| ("precondition", sigma_data));
            let of_weighting = process.weighting.sigma_data().map(|sigma_data| ("weighting", sigma_data));
            let of_data = process.data_std.map(|std| ("data_std", std));
            let assumed = [of_network, of_weighting, of_data].into_iter().flatten();
            let (entry, assumed) = assumed.into_iter().find(|(_, assumed)| (assumed / data - 1.0).abs() > TOLERANCE)?;
            let finding = SigmaDataMismatch {
                name: if entry == "data_std" { entry } else { "sigma_data" },
                assumed_at: declared.place(entry),
                assumed,
                data_at: measured.is_none().then(|| declared.place("data_std")),
                data,
            };
            Some((process_node(context)?, finding))
        };
        found().into_iter().collect()
    }

    report(finding, _context) {
        let SigmaDataMismatch { name, assumed_at, assumed, data_at, data } = finding;
        let ratio = (data / assumed) * (data / assumed);
        let consequence = format!(
            "the input of a network preconditioned so has variance {} at low noise, its target at high noise",
            short((ratio * 100.0).round() / 100.0)
        );
        Report {
            message: format!("made for data of deviation {}, but the data has {}", short(*assumed), short(*data)),
            labels: std::iter::once((*assumed_at, format!("assumes {}", short(*assumed))))
                .chain(data_at.map(|place| (place, "declared here".to_owned())))
                .collect(),
            notes: match data_at {
                Some(_) => vec![consequence],
                None => vec![format!("archc.yaml declares data of deviation {}", short(*data)), consequence],
            },
            help: Some(format!("write `{name}: {}`, or scale the data", short(*data))),
        }
    }

    fixes(finding, context) {
        let Some(declared) = context.graph.process.as_ref() else { return vec![] };
        let entries = ["precondition", "weighting"].into_iter().filter_map(|name| declared.entry(name));
        let calls = entries.filter_map(|place| context.call(place)).filter(|call| *call.name == *"edm");
        // A hyperparameter stays one.
        let is_number = |call: &Call| call.argument("sigma_data").is_none_or(|text| text.parse::<f64>().is_ok());
        let edits = calls.filter(is_number).map(|call| call.set("sigma_data", &short(finding.data)));
        // `data_std` as well, where it is not that which the others are held to.
        let number = |place: &Span| context.written(*place).is_some_and(|text| text.parse::<f64>().is_ok());
        let written = declared.entry("data_std").filter(|place| finding.data_at.is_none() && number(place));
        let of_data = written.and_then(|place| context.replace(place, short(finding.data)));
        let edits: Vec<Edit> = edits.chain(of_data).collect();
        let title = format!("take a deviation of {}", short(finding.data));
        if edits.is_empty() { vec![] } else { vec![Fix::new(title, Safety::Unsafe, edits)] }
    }
}
