//! `precision/coarse-timestep`

use crate::analysis::precision::{Format, Hazard};
use crate::lint::Report;
use crate::words::short;
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Where a model is declared to run in few bits (`archc check --dtype bf16`), finds timesteps that the format does not tell
    /// apart.
    ///
    /// ## Why is this bad
    ///
    /// bf16 has 8 bits of mantissa: whole numbers are all different up to 256, then every second one is missing, from 512
    /// on three of four. Of 1000 timesteps 507 are left, and neighbouring steps get one embedding: the network cannot know
    /// which noise it sees. f16 holds whole numbers up to 2048.
    ///
    /// ## Example
    ///
    /// ```arch dtype=bf16
    /// model Coarse(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     x -> linear(32) @in + t -> sinusoid(64) -> linear(32) @time
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// Keep the timestep and its embedding in f32, or give the noise level itself:
    ///
    /// ```arch dtype=bf16
    /// model Fine(x: tokens[16, 32], s: sigma) -> tokens[16, 32] {
    ///     x -> linear(32) @in + (s -> log() -> sinusoid(64, max_period: 100)) -> linear(32) @time
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: the language has no word for the numbers of a single operation; whoever runs the network chooses them.
    ///
    /// ## Evidence
    ///
    /// A remark, because a small experiment does not confirm it: a transformer on images of digits learns flow matching with all
    /// values rounded to bf16, its timesteps among them, as well as with timesteps in f32 (`tests/evidence/report.md`).
    ///
    /// ## References
    ///
    /// * Kalamkar et al., *A Study of BFLOAT16 for Deep Learning Training*, 2019: the format.
    ///
    /// ## Threads
    ///
    /// * modelscope/DiffSynth-Studio#1025: 998.39 becomes 1000 in bf16; from then on timesteps of Wan stay in fp32.
    /// * utensils/mold#786: step 937 reaches the time embedding of Wan as 936 on CUDA, where it is cast to bf16, and
    ///   unchanged on the CPU.
    /// * kohya-ss/musubi-tuner#729: bf16 has too little precision between 0 and 1000, so that generation is changed to
    ///   f32.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --dtype bf16` lists what has to be kept in f32, with the reason that steps "are no longer
    /// told apart".
    "precision/coarse-timestep", Info
    pub struct CoarseTimestep {
        place: Span,
        format: Format,
        last: f64,
    }

    check(context) {
        let Some(precision) = context.precision() else { return vec![] };
        let format = precision.format;
        let found = precision.kept.iter().filter_map(|kept| {
            let Hazard::Steps { last } = kept.hazard else { return None };
            Some((kept.node, CoarseTimestep { place: context.place(kept.node), format, last }))
        });
        found.collect()
    }

    report(finding, _context) {
        let format = finding.format;
        Report {
            message: format!("{} does not tell these timesteps apart", format.name()),
            labels: vec![(
                finding.place,
                format!("steps go to {}, whole numbers are exact up to {}", short(finding.last), short(format.integers())),
            )],
            notes: vec![],
            help: Some("keep the timestep and its embedding in f32".to_owned()),
        }
    }
}
