//! Whether `scheduler_config.json` says of the noise what the process of a network says.

use archc_process::{Curve, Precondition, Prediction, Process, Schedule};
use serde_json::Value;

/// A number that may be off by its last digits is the same.
const TOLERANCE: f64 = 1e-9;

/// Whether a value of a configuration is ours.
pub(super) fn is_same(theirs: &Value, ours: &Value) -> bool {
    match (theirs.as_f64(), ours.as_f64()) {
        (Some(theirs), Some(ours)) => (theirs - ours).abs() <= TOLERANCE * ours.abs(),
        _ => theirs == ours,
    }
}

/// Differences, a sentence for each. Keys that say how to sample, and not how the network was trained, are not looked at.
pub(super) fn contradictions(config: &Value, process: &Process) -> Vec<String> {
    let mut differences = vec![];
    if config.get("trained_betas").is_some_and(|betas| !betas.is_null()) {
        differences.push("`trained_betas` are numbers there, and the process of the network has a formula".to_owned());
    }
    // Files from before there was another prediction do not say which it is.
    let early = config.get("_class_name").map(|_| Value::from("epsilon"));
    let mut compare = |key: &str, ours: Value| {
        let unsaid = early.as_ref().filter(|_| key == "prediction_type");
        let Some(theirs) = config.get(key).filter(|theirs| !theirs.is_null()).or(unsaid) else { return };
        if !is_same(theirs, &ours) {
            differences.push(format!("`{key}` is {theirs} there, and {ours} in the process of the network"));
        }
    };
    match process.schedule {
        Schedule::Steps { curve, steps, zero_terminal_snr } => {
            compare("num_train_timesteps", steps.into());
            compare("rescale_betas_zero_snr", zero_terminal_snr.into());
            compare("timestep_type", "discrete".into());
            match curve {
                Curve::Linear { start, end } => {
                    compare("beta_schedule", "linear".into());
                    compare("beta_start", start.into());
                    compare("beta_end", end.into());
                }
                Curve::ScaledLinear { start, end } => {
                    compare("beta_schedule", "scaled_linear".into());
                    compare("beta_start", start.into());
                    compare("beta_end", end.into());
                }
                Curve::Cosine { .. } => compare("beta_schedule", "squaredcos_cap_v2".into()),
            }
        }
        Schedule::Flow { shift, steps } => {
            compare("num_train_timesteps", steps.into());
            compare("shift", shift.into());
        }
        Schedule::Edm { sigma_min, sigma_max, .. } | Schedule::Ve { sigma_min, sigma_max } => {
            compare("sigma_min", sigma_min.into());
            compare("sigma_max", sigma_max.into());
        }
    }
    // Preconditioned, a network has a prediction of its own.
    if process.precondition != Precondition::None {
        return differences;
    }
    match process.prediction {
        Prediction::Eps => compare("prediction_type", "epsilon".into()),
        Prediction::V => compare("prediction_type", "v_prediction".into()),
        Prediction::X0 => compare("prediction_type", "sample".into()),
        // The scheduler of flows has no other.
        Prediction::Flow => {}
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::contradictions;
    use archc_process::{Curve, Prediction, Process, Schedule};
    use serde_json::json;

    #[test]
    fn what_the_network_predicts_is_compared() {
        let process = Process::of(Schedule::of(Curve::SCALED_LINEAR), Prediction::Eps);
        let config =
            json!({ "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000, "steps_offset": 1 });
        assert_eq!(contradictions(&config, &process), Vec::<String>::new());
        let config = json!({ "prediction_type": "v_prediction", "beta_schedule": "linear", "trained_betas": [0.1] });
        assert_eq!(contradictions(&config, &process).len(), 3);
    }

    #[test]
    fn early_files_mean_noise() {
        let config = json!({ "_class_name": "PNDMScheduler", "prediction_type": null });
        let of = |prediction| contradictions(&config, &Process::of(Schedule::of(Curve::SCALED_LINEAR), prediction));
        assert_eq!(of(Prediction::Eps), Vec::<String>::new());
        let said = "`prediction_type` is \"epsilon\" there, and \"v_prediction\" in the process of the network";
        assert_eq!(of(Prediction::V), [said]);
        let flow = Process::of(Schedule::FLOW, Prediction::Flow);
        assert_eq!(contradictions(&json!({ "_class_name": "FlowMatchEulerDiscreteScheduler" }), &flow).len(), 0);
    }
}
