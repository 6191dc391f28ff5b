//! Schedules, predictions, preconditioning and weightings against the public implementations.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a damaged reference has to stop a test")]

mod common;

use archc_process::{
    Curve, Guidance, Level, Precondition, Prediction, Scale, Schedule, Spacing, Times, Weighting, karras,
};
use common::{chain, close, each_close, number, numbers, read, rows, whole};

#[test]
fn chains_equal_the_reference() {
    for name in ["linear", "scaled_linear", "cosine", "scaled_linear_zero_snr"] {
        let file = read(&format!("schedule_{name}.json"));
        let chain = chain(&file["config"]);
        let exact = &file["exact_f64"];
        each_close(&format!("{name} betas"), chain.betas(), &numbers(&exact["betas"]), 1e-9);
        each_close(&format!("{name} kept"), chain.kept(), &numbers(&exact["alphas_cumprod"]), 1e-9);
    }
}

#[test]
fn default_curves_are_the_published_ones() {
    for (name, curve) in [("linear", Curve::LINEAR), ("scaled_linear", Curve::SCALED_LINEAR), ("cosine", Curve::COSINE)]
    {
        let exact = numbers(&read(&format!("schedule_{name}.json"))["exact_f64"]["betas"]);
        each_close(name, Schedule::of(curve).chain().unwrap().betas(), &exact, 1e-9);
    }
}

#[test]
fn predictions_convert() {
    let file = read("prediction_types.json");
    let (x0, noise) = (numbers(&file["x0"]), numbers(&file["eps"]));
    let chain = Schedule::of(Curve::SCALED_LINEAR).chain().unwrap();
    for row in rows(&file["rows"]) {
        let step = whole(&serde_json::json!([row["t"]]))[0];
        let at = chain.level(step).unwrap();
        let level = [chain.kept()[step], at.signal, at.noise, at.snr()];
        let names = ["alpha_bar", "sqrt_alpha_bar", "sqrt_one_minus_alpha_bar", "snr"];
        each_close("level", &level, &names.map(|name| number(&row[name])), 1e-11);
        let weighting = Weighting::MinSnr { gamma: 5.0 };
        let weights = [Prediction::Eps, Prediction::V].map(|prediction| weighting.weight(prediction, at).unwrap());
        let names = ["min_snr_5_weight_epsilon", "min_snr_5_weight_v"];
        each_close("weights", &weights, &names.map(|name| number(&row[name])), 1e-11);

        let x: Vec<f64> = x0.iter().zip(&noise).map(|(x0, n)| at.signal * x0 + at.noise * n).collect();
        close("x_t", &x, &numbers(&row["x_t"]), 1e-14);
        let v = Prediction::V.target_of(&x0, &noise, at);
        close("v", &v, &numbers(&row["v"]), 1e-14);
        close("x0 of eps", &Prediction::Eps.data_of(&x, &noise, at).unwrap(), &numbers(&row["x0_from_eps"]), 1e-12);
        close("x0 of v", &Prediction::V.data_of(&x, &v, at).unwrap(), &numbers(&row["x0_from_v"]), 1e-12);
        close("eps of v", &Prediction::V.noise_of(&x, &v, at).unwrap(), &numbers(&row["eps_from_v"]), 1e-12);
    }
}

#[test]
fn every_prediction_says_the_same_on_every_scale() {
    let (x0, noise) = (0.37, -1.2);
    for sigma in [1e-3, 0.5, 3.0, 80.0] {
        for scale in [Scale::VariancePreserving, Scale::VarianceExploding, Scale::Flow] {
            let at = Level::variance_exploding(sigma).on(scale).unwrap();
            let x = at.signal * x0 + at.noise * noise;
            for name in Prediction::NAMES {
                let prediction = Prediction::named(name).unwrap();
                let output = prediction.target_of(&x0, &noise, at);
                close(name, &[prediction.data_of(&x, &output, at).unwrap()], &[x0], 1e-10);
                close(name, &[prediction.noise_of(&x, &output, at).unwrap()], &[noise], 1e-10);
            }
        }
    }
}

#[test]
fn flow_matching_equals_the_reference() {
    let file = read("flow_matching.json");
    let forward = &file["forward_process"];
    let (x0, noise) = (numbers(&forward["x0"]), numbers(&forward["noise"]));
    for row in rows(&forward["rows"]) {
        let at = Level::flow(number(&row["sigma"]));
        let x: Vec<f64> = x0.iter().zip(&noise).map(|(x0, n)| at.signal * x0 + at.noise * n).collect();
        close("x_t", &x, &numbers(&row["x_t"]), 1e-14);
        let velocity = Prediction::Flow.target_of(&x0, &noise, at);
        close("velocity", &velocity, &numbers(&row["velocity_target"]), 1e-14);
    }
    let table = &file["loss_weighting"];
    for (name, weighting) in
        [("sigma_sqrt", Weighting::SigmaSqrt), ("cosmap", Weighting::Cosmap), ("none", Weighting::Uniform)]
    {
        let at = |sigma: &f64| weighting.weight(Prediction::Flow, Level::flow(*sigma)).unwrap();
        let weights: Vec<f64> = numbers(&table["sigmas"]).iter().map(at).collect();
        each_close(name, &weights, &numbers(&table[name]), 2e-7);
    }
    let table = &file["logit_normal_time"];
    let drawn: Vec<f64> = numbers(&table["normal_draws"]).iter().map(|z| Times::SD3.drawn(*z).unwrap()).collect();
    each_close("logit-normal", &drawn, &numbers(&table["t"]), 1e-14);
}

#[test]
fn edm_equals_the_reference() {
    let file = read("edm.json");
    let sampler = &file["sampler"];
    for run in rows(&file["runs"]) {
        let mut sigmas = karras(
            number(&sampler["sigma_min"]),
            number(&sampler["sigma_max"]),
            number(&sampler["rho"]),
            number(&run["steps"]) as usize,
        )
        .unwrap();
        sigmas.push(0.0);
        each_close("sigmas", &sigmas, &numbers(&run["sigmas_f64"]), 1e-12);
    }
    let sigma_data = number(&file["sigma_data"]);
    for row in rows(&file["preconditioning"]) {
        let sigma = number(&row["sigma"]);
        let c = Precondition::EDM.coefficients(sigma).unwrap().unwrap();
        let exact = &row["exact_f64"];
        let at = Level::variance_exploding(sigma);
        let weight = Weighting::Edm { sigma_data }.weight(Prediction::X0, at).unwrap();
        let names = ["c_skip", "c_out", "c_in", "c_noise", "loss_weight"];
        let ours = [c.skip, c.out, c.input, c.noise, weight];
        each_close("preconditioning", &ours, &names.map(|name| number(&exact[name])), 1e-13);
        let inside = Weighting::Edm { sigma_data }.weight_inside(Prediction::X0, Precondition::EDM, at).unwrap();
        close("the weight of the network's own output", &[inside], &[1.0], 1e-12);
    }
    let training = &file["training_noise"];
    let times = Times::LogNormal { mean: number(&training["P_mean"]), std: number(&training["P_std"]) };
    assert_eq!(times, Times::EDM);
    let drawn: Vec<f64> = numbers(&training["normal_draws"]).iter().map(|z| times.drawn(*z).unwrap()).collect();
    each_close("log-normal", &drawn, &numbers(&training["sigma"]), 1e-13);
}

#[test]
fn preconditioning_keeps_unit_variance() {
    for sigma_data in [0.25, 0.5, 1.0] {
        for level in Schedule::EDM.levels(64).unwrap() {
            let sigma = level.noise;
            let c = Precondition::Edm { sigma_data }.coefficients(sigma).unwrap().unwrap();
            let data = sigma_data * sigma_data;
            let input = c.input * c.input * (data + sigma * sigma);
            // The target is (x0 - skip (x0 + sigma n)) / out.
            let target = ((1.0 - c.skip) * (1.0 - c.skip) * data + c.skip * c.skip * sigma * sigma) / (c.out * c.out);
            close("variances", &[input, target], &[1.0, 1.0], 1e-6);
        }
    }
}

#[test]
fn shortened_chains_equal_the_reference() {
    let file = read("ddpm_guided_diffusion.json");
    let table = &file["respaced_timesteps"];
    assert_eq!(Spacing::sections(1000, &[10]).unwrap(), whole(&table["10"]));
    assert_eq!(Spacing::sections(1000, &[10, 5, 3]).unwrap(), whole(&table["10,5,3"]));
    assert_eq!(Spacing::whole_stride(1000, 25).unwrap(), whole(&table["ddim25"]));

    let chain = Schedule::of(Curve::LINEAR).chain().unwrap();
    let posteriors: Vec<_> =
        whole(&file["steps_listed"]).into_iter().map(|step| chain.posterior(step).unwrap()).collect();
    let exact = &file["exact_f64"];
    let column = |take: fn(&archc_process::Posterior) -> f64| posteriors.iter().map(take).collect::<Vec<_>>();
    for (name, ours) in [
        ("posterior_variance", column(|p| p.variance)),
        ("posterior_log_variance_clipped", column(|p| p.log_variance)),
        ("posterior_mean_coef1", column(|p| p.data)),
        ("posterior_mean_coef2", column(|p| p.current)),
    ] {
        each_close(name, &ours, &numbers(&exact[name]), 1e-9);
    }
}

#[test]
fn guidance_equals_the_reference() {
    let file = read("guidance.json");
    for row in rows(&file["rows"]) {
        let guidance = Guidance::new(number(&row["scale"]), number(&row["guidance_rescale"])).unwrap();
        let inputs = rows(&file["conditional"]).iter().zip(rows(&file["unconditional"]));
        for ((conditional, unconditional), out) in inputs.zip(rows(&row["out"])) {
            let ours = guidance.apply(&numbers(conditional), &numbers(unconditional));
            close("guided", &ours, &numbers(out), 1e-6);
        }
    }
}

#[test]
fn weightings_agree_between_predictions() {
    let at = Level::variance_exploding(0.7).on(Scale::VariancePreserving).unwrap();
    let weightings = [
        Weighting::MinSnr { gamma: 5.0 },
        Weighting::P2 { k: 1.0, gamma: 1.0 },
        Weighting::Edm { sigma_data: 0.5 },
        Weighting::SigmaSqrt,
        Weighting::Cosmap,
    ];
    for weighting in weightings {
        // An error of the data of 1, seen through every prediction, costs the same.
        let costs = Prediction::NAMES.map(|name| {
            let prediction = Prediction::named(name).unwrap();
            let (_, q) = prediction.data(at).unwrap();
            weighting.weight(prediction, at).unwrap() / (q * q)
        });
        each_close("cost", &costs, &[costs[0]; 4], 1e-12);
    }
    let p2 = Weighting::P2 { k: 1.0, gamma: 1.0 }.weight(Prediction::Eps, at).unwrap();
    close("P2 of the noise", &[p2], &[1.0 / (1.0 + at.snr())], 1e-14);
}
