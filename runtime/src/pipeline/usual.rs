//! How a network is sampled according to the `scheduler_config.json` beside it, where nobody says otherwise.

use super::scheduler::is_same;
use crate::sample::Method;
use archc_process::sampler::LastStep;
use archc_process::{Process, Schedule, Variance};
use serde_json::{Value, json};

/// A scheduler of diffusers whose sampler there is here.
struct Class {
    sampler: &'static str,
    /// What diffusers takes where the configuration says nothing.
    defaults: Value,
    /// Keys for which the sampler here has no other value, with those that mean it.
    only: Value,
}

impl Class {
    fn named(name: &str) -> Option<Self> {
        let class = |sampler, defaults, only| Some(Self { sampler, defaults, only });
        match name {
            "DDIMScheduler" => class(
                "ddim",
                json!({ "timestep_spacing": "leading", "set_alpha_to_one": true, "clip_sample": true }),
                json!({ "thresholding": false }),
            ),
            "PNDMScheduler" => class(
                "pndm",
                json!({ "timestep_spacing": "leading", "set_alpha_to_one": false, "skip_prk_steps": false }),
                json!({ "skip_prk_steps": true }),
            ),
            "DDPMScheduler" => class(
                "ddpm",
                json!({ "timestep_spacing": "leading", "clip_sample": true, "variance_type": "fixed_small" }),
                json!({ "thresholding": false }),
            ),
            "EulerDiscreteScheduler" => class(
                "euler",
                json!({ "timestep_spacing": "linspace" }),
                json!({
                    "use_exponential_sigmas": false, "use_beta_sigmas": false, "interpolation_type": "linear",
                    "final_sigmas_type": "zero",
                }),
            ),
            "EulerAncestralDiscreteScheduler" => class("euler_a", json!({ "timestep_spacing": "linspace" }), json!({})),
            "HeunDiscreteScheduler" => class(
                "heun",
                json!({ "timestep_spacing": "linspace" }),
                json!({ "use_exponential_sigmas": false, "use_beta_sigmas": false, "clip_sample": false }),
            ),
            "DPMSolverMultistepScheduler" => class(
                "dpmpp_2m",
                json!({ "timestep_spacing": "linspace" }),
                json!({
                    "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "thresholding": false,
                    "final_sigmas_type": "zero", "lambda_min_clipped": null, "use_exponential_sigmas": false,
                    "use_beta_sigmas": false, "use_lu_lambdas": false, "use_flow_sigmas": false,
                }),
            ),
            "FlowMatchEulerDiscreteScheduler" => class(
                "flow_euler",
                json!({}),
                json!({
                    "use_dynamic_shifting": false, "shift_terminal": null, "invert_sigmas": false,
                    "stochastic_sampling": false, "use_karras_sigmas": false, "use_exponential_sigmas": false,
                    "use_beta_sigmas": false,
                }),
            ),
            _ => None,
        }
    }
}

/// What a configuration says of how to sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usual {
    pub sampler: Option<&'static str>,
    pub spacing: Option<String>,
    /// For the spacing `leading`.
    pub offset: usize,
    pub karras: bool,
    pub clip: Option<f64>,
    pub last: LastStep,
    pub variance: Option<Variance>,
}

impl Usual {
    /// Of a configuration for a network, where `chosen` is the sampler that is asked for, if one is. Settings hold for it
    /// as well, as far as it has them; what a configuration does not say is as usual for its own sampler alone. Fails with
    /// a sentence for each thing that no sampler here does.
    pub fn of(config: &Value, process: &Process, chosen: Option<&str>) -> Result<Self, Vec<String>> {
        let Some(name) = config.get("_class_name").and_then(Value::as_str) else { return Ok(Self::default()) };
        let class = Class::named(name);
        if chosen.is_none() {
            fits(name, class.as_ref(), config, process)?;
        }
        let Some(sampler) = chosen.or(class.as_ref().map(|class| class.sampler)) else { return Ok(Self::default()) };
        let own = class.filter(|class| class.sampler == sampler);
        let said = Said { config, own: own.as_ref() };
        let spacing = said.get("timestep_spacing").and_then(Value::as_str).map(str::to_owned);
        let is_leading = spacing.as_deref() == Some("leading");
        let clips = matches!(sampler, "ddim" | "ddpm") && said.is("clip_sample");
        let ends_early =
            matches!(sampler, "ddim" | "pndm") && said.get("set_alpha_to_one") == Some(&Value::Bool(false));
        Ok(Self {
            sampler: own.as_ref().map(|class| class.sampler),
            offset: if is_leading { said.get("steps_offset").and_then(Value::as_u64).unwrap_or(0) as usize } else { 0 },
            spacing,
            karras: Method::is_spaced(sampler) && said.is("use_karras_sigmas"),
            clip: clips.then(|| said.get("clip_sample_range").and_then(Value::as_f64).unwrap_or(1.0)),
            last: if ends_early { LastStep::FirstLevel } else { LastStep::Clean },
            variance: said.get("variance_type").and_then(Value::as_str).and_then(variance),
        })
    }
}

/// A configuration, and what holds where it says nothing.
struct Said<'c> {
    config: &'c Value,
    own: Option<&'c Class>,
}

impl Said<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        let said = self.config.get(key).filter(|said| !said.is_null());
        said.or_else(|| self.own?.defaults.get(key))
    }

    fn is(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }
}

/// The variance of steps by its name there; one that is learned is that of the process.
fn variance(name: &str) -> Option<Variance> {
    match name {
        "fixed_small" | "fixed_small_log" => Some(Variance::FixedSmall),
        "fixed_large" | "fixed_large_log" => Some(Variance::FixedLarge),
        _ => None,
    }
}

/// Whether there is a sampler that does what the configuration says, and samples networks of this process.
fn fits(name: &str, class: Option<&Class>, config: &Value, process: &Process) -> Result<(), Vec<String>> {
    let valid = Method::valid(process);
    let choice = format!("choose with --sampler: {}", valid.join(", "));
    let Some(class) = class else { return Err(vec![format!("there is no sampler here for `{name}`; {choice}")]) };
    if !valid.contains(&class.sampler) {
        let sampler = class.sampler;
        return Err(vec![format!("`{name}`, `{sampler}` here, does not fit the process of the network; {choice}")]);
    }
    let said = Said { config, own: Some(class) };
    let other = |(key, only): (&String, &Value)| {
        let theirs = said.get(key).filter(|theirs| !is_same(theirs, only))?;
        let sampler = class.sampler;
        let meant = if only.is_null() { String::new() } else { format!(" with {only}") };
        Some(format!("`{key}` is {theirs} there, and `{sampler}` is `{name}`{meant} here; {choice}"))
    };
    let mut problems: Vec<String> = class.only.as_object().into_iter().flatten().filter_map(other).collect();
    if matches!(process.schedule, Schedule::Edm { .. }) && !said.is("use_karras_sigmas") {
        problems
            .push(format!("`use_karras_sigmas` is not true there, and the process of the network is `edm`; {choice}"));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a configuration that is not understood has to stop a test")]
mod tests {
    use super::Usual;
    use archc_process::sampler::LastStep;
    use archc_process::{Curve, Prediction, Process, Schedule, Variance};
    use serde_json::json;

    fn chain() -> Process {
        Process::of(Schedule::of(Curve::SCALED_LINEAR), Prediction::Eps)
    }

    #[test]
    fn what_is_not_said_is_as_diffusers_has_it() {
        let usual = |config| Usual::of(&config, &chain(), None).unwrap();
        let ddim = usual(json!({ "_class_name": "DDIMScheduler" }));
        let leading = Some("leading".to_owned());
        assert_eq!(ddim, Usual { sampler: Some("ddim"), spacing: leading, clip: Some(1.0), ..Usual::default() });
        let ddpm =
            usual(json!({ "_class_name": "DDPMScheduler", "variance_type": "fixed_large", "clip_sample": false }));
        assert_eq!((ddpm.sampler, ddpm.variance, ddpm.clip), (Some("ddpm"), Some(Variance::FixedLarge), None));
        let ancestral = usual(json!({ "_class_name": "EulerAncestralDiscreteScheduler", "steps_offset": 1 }));
        assert_eq!((ancestral.sampler, ancestral.offset), (Some("euler_a"), 0));
        let pndm = usual(json!({ "_class_name": "PNDMScheduler", "skip_prk_steps": true, "steps_offset": 1 }));
        assert_eq!((pndm.sampler, pndm.offset, pndm.last), (Some("pndm"), 1, LastStep::FirstLevel));
    }

    /// As with `from_config` there.
    #[test]
    fn settings_hold_for_the_sampler_that_is_chosen() {
        let config = json!({
            "_class_name": "PNDMScheduler", "steps_offset": 1, "timestep_spacing": "leading", "use_karras_sigmas": true,
        });
        let of = |chosen| Usual::of(&config, &chain(), Some(chosen)).unwrap();
        let euler = of("euler");
        assert_eq!((euler.sampler, euler.offset, euler.karras, euler.last), (None, 1, true, LastStep::Clean));
        // That of PNDM is not said, and its default is none of DDIM.
        assert_eq!((of("ddim").last, of("ddim").karras), (LastStep::Clean, false));
    }

    #[test]
    fn what_no_sampler_does_is_said() {
        let problems = |config| Usual::of(&config, &chain(), None).unwrap_err().join("\n");
        assert!(problems(json!({ "_class_name": "PNDMScheduler" })).contains("`skip_prk_steps` is false"));
        assert!(problems(json!({ "_class_name": "UniPCMultistepScheduler" })).contains("no sampler here"));
        let flow = problems(json!({ "_class_name": "FlowMatchEulerDiscreteScheduler" }));
        assert!(flow.contains("does not fit") && flow.contains("ddim, ddpm, pndm"), "{flow}");
        let sde =
            problems(json!({ "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++" }));
        assert!(sde.contains("`algorithm_type`") && sde.contains("dpmsolver++"), "{sde}");
    }
}
