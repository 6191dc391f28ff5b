//! Trajectories against the public implementations, with denoisers known in closed form.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a damaged reference has to stop a test")]

mod common;

use archc_process::sampler::{
    Churn, Ddim, Ddpm, DpmSolver, Euler, EulerAncestral, FlowEuler, Heun, LastStep, Noise, Pndm, Sampler, Sigmas,
    Silence,
};
use archc_process::{
    Curve, Denoised, Denoiser, Expected, Level, Network, Output, Point, Precondition, Prediction, ProcessError, Scale,
    Schedule, Spacing, Variance,
};
use common::{chain, close, denoiser, each_close, expected, number, numbers, read, rows, start, whole};
use serde_json::Value;

/// Walks a toy and compares what stands behind every step.
fn follow(what: &str, sampler: &impl Sampler, toy: &Value, noise: &mut impl Noise<Vec<f64>>, exact: &Value) {
    let mut seen = Vec::new();
    let first = start(sampler.start());
    sampler.sample(first, &mut denoiser(toy), noise, |_, x: &Vec<f64>| seen.push(x.clone())).unwrap();
    assert_eq!(seen.len(), rows(exact).len(), "{what}: steps");
    for (step, (ours, exact)) in seen.iter().zip(rows(exact)).enumerate() {
        close(&format!("{what}, step {step}"), ours, &numbers(exact), 1e-10);
    }
}

/// The rows of a table as the noise of the steps.
fn table(rows: &Value) -> impl FnMut(usize, &Vec<f64>) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = common::rows(rows).iter().map(numbers).collect();
    move |step, _: &Vec<f64>| rows[step].clone()
}

fn ascending(steps: &Value) -> Vec<usize> {
    whole(steps).into_iter().rev().collect()
}

#[test]
fn ancestral_sampling_of_a_chain() {
    let file = read("ddpm_ancestral.json");
    let full = Schedule::of(Curve::LINEAR).chain().unwrap();
    let kept = Spacing::Leading { offset: 0 }.steps(1000, 10).unwrap();
    for run in rows(&file["runs"]) {
        assert_eq!(kept, ascending(&run["timesteps"]));
        let variance = Variance::named(run["variance_type"].as_str().unwrap()).unwrap();
        let sampler = Ddpm::new(&full.respaced(&kept).unwrap(), variance, None).unwrap();
        follow(variance.name(), &sampler, &run["toy"], &mut table(&file["noise"]), &run["exact_f64"]);
    }
}

#[test]
fn single_reverse_steps() {
    let file = read("ddpm_guided_diffusion.json");
    let case = &file["reverse_step"];
    let full = Schedule::of(Curve::LINEAR).chain().unwrap();
    let (x, eps) = (numbers(&case["x_t"]), numbers(&case["epsilon"]));
    let (z, variance_output) = (numbers(&case["z"]), numbers(&case["variance_output"]));
    for row in rows(&case["rows"]) {
        let step = number(&row["t"]) as usize;
        let at = full.level(step).unwrap();
        for name in Variance::NAMES {
            let sampler = Ddpm::new(&full, Variance::named(name).unwrap(), Some(1.0)).unwrap();
            let x0 = Prediction::Eps.data_of(&x, &eps, at).unwrap();
            let known = Denoised { x0, noise: eps.clone(), variance: Some(variance_output.clone()) };
            let reverse = sampler.reverse(999 - step, &x, known).unwrap();
            let reference = &row[name];
            close("mean", &reverse.mean, &numbers(&reference["exact_mean"]), 1e-12);
            close("log variance", &reverse.log_variance, &numbers(&reference["exact_log_variance"]), 1e-12);
            close("x0", &reverse.x0, &numbers(&reference["pred_xstart"]), 1e-6);

            let network = |_: &Vec<f64>, time: f64| -> Result<_, ProcessError> {
                close("time", &[time], &[step as f64], 0.0);
                Ok(Output { prediction: eps.clone(), variance: Some(variance_output.clone()) })
            };
            let mut network = Network {
                network,
                scale: Scale::VariancePreserving,
                prediction: Prediction::Eps,
                precondition: Precondition::None,
            };
            let mut noise = |_: usize, _: &Vec<f64>| z.clone();
            let sample = sampler.step(999 - step, &x, &mut vec![], &mut network, &mut noise).unwrap();
            close("sample", &sample, &numbers(&reference["sample"]), 1e-12);
        }
    }
}

/// Which steps a scheduler visits.
fn spacing(config: &Value) -> Spacing {
    match config["timestep_spacing"].as_str().unwrap() {
        "leading" => Spacing::Leading { offset: number(&config["steps_offset"]) as usize },
        other => Spacing::named(other).unwrap(),
    }
}

fn last_step(config: &Value) -> LastStep {
    if config["set_alpha_to_one"] == true { LastStep::Clean } else { LastStep::FirstLevel }
}

#[test]
fn ddim() {
    let file = read("ddim.json");
    for run in rows(&file["runs"]) {
        let config = &run["config"];
        let chain = chain(config);
        let kept = spacing(config).steps(1000, 10).unwrap();
        assert_eq!(kept, ascending(&run["timesteps"]));
        let last = last_step(config);
        let sampler = Ddim::new(&chain, &kept, 0.0, last, None).unwrap();
        follow(run["case"].as_str().unwrap(), &sampler, &run["toy"], &mut Silence, &run["exact_f64"]);
    }
}

#[test]
fn ddim_with_noise() {
    let file = read("ddim.json");
    let case = &file["eta_step"];
    let (step, eta) = (number(&case["t"]) as usize, number(&case["eta"]));
    let kept = [step - 100, step];
    let sampler = Ddim::new(&chain(&case["config"]), &kept, eta, LastStep::FirstLevel, None).unwrap();
    let eps = numbers(&case["epsilon"]);
    let mut network = Network {
        network: |_: &Vec<f64>, _: f64| -> Result<_, ProcessError> {
            Ok(Output { prediction: eps.clone(), variance: None })
        },
        scale: Scale::VariancePreserving,
        prediction: Prediction::Eps,
        precondition: Precondition::None,
    };
    let z = numbers(&case["z"]);
    let mut noise = |_: usize, _: &Vec<f64>| z.clone();
    let x = sampler.step(0, &numbers(&case["x"]), &mut vec![], &mut network, &mut noise).unwrap();
    close("x", &x, &numbers(&case["exact_f64"]), 1e-12);
}

#[test]
fn euler() {
    let file = read("euler_discrete.json");
    for run in rows(&file["runs"]) {
        let config = &run["config"];
        let chain = chain(config);
        let mut sigmas = Sigmas::of_chain(&chain, spacing(config), 10).unwrap();
        if config["use_karras_sigmas"] == true {
            sigmas = sigmas.spaced_by_rho(&chain, 7.0).unwrap();
        }
        close("start", &[sigmas.start()], &[number(&run["init_noise_sigma_f64"])], 1e-12);
        each_close("sigmas", &sigmas.values().collect::<Vec<_>>(), &numbers(&run["sigmas_f64"]), 1e-11);
        close("times", &sigmas.times().collect::<Vec<_>>(), &numbers(&run["timesteps_f64"]), 1e-12);
        let what = run["case"].as_str().unwrap();
        follow(what, &Euler::new(sigmas.clone()), &run["toy"], &mut Silence, &run["exact_f64"]);

        // A network that was trained on the variance-preserving scale is given its input there.
        let (expected, mut inputs) = (expected(&run["toy"]), Vec::new());
        let mut points = sigmas.values();
        let network = |x: &Vec<f64>, _: f64| -> Result<_, ProcessError> {
            inputs.push(x.clone());
            let at = Level::variance_exploding(points.next().unwrap()).on(Scale::VariancePreserving)?;
            let eps = x.iter().map(|x| (x - at.signal * expected(*x, at)) / at.noise).collect();
            Ok(Output { prediction: eps, variance: None })
        };
        let mut network = Network {
            network,
            scale: Scale::VariancePreserving,
            prediction: Prediction::Eps,
            precondition: Precondition::None,
        };
        let x = Euler::new(sigmas.clone())
            .sample(start(sigmas.start()), &mut network, &mut Silence, |_, _: &Vec<f64>| ())
            .unwrap();
        close(what, &x, &numbers(rows(&run["exact_f64"]).last().unwrap()), 1e-10);
        for (ours, upstream) in inputs.iter().zip(rows(&run["network_input_f32"])) {
            close("network input", ours, &numbers(upstream), 3e-6);
        }
    }
}

#[test]
fn heun_with_and_without_churn() {
    let file = read("edm.json");
    for run in rows(&file["runs"]) {
        let sigmas = Sigmas::edm(0.002, 80.0, 7.0, number(&run["steps"]) as usize).unwrap();
        let churn = Churn {
            amount: number(&run["S_churn"]),
            from: number(&run["S_min"]),
            to: number(&run["S_max"]),
            noise: number(&run["S_noise"]),
        };
        let sampler = Heun::new(sigmas, churn).unwrap();
        let noise = if run["noise"].is_null() { serde_json::json!([]) } else { run["noise"].clone() };
        follow("heun", &sampler, &run["toy"], &mut table(&noise), &run["exact_f64"]);

        let (expected, mut evaluations) = (expected(&run["toy"]), 0.0);
        let mut counting = Expected(|x: &Vec<f64>, at: Level| {
            evaluations += 1.0;
            x.iter().map(|x| expected(*x, at)).collect::<Vec<f64>>()
        });
        let first = start(sampler.start());
        sampler.sample(first, &mut counting, &mut table(&noise), |_, _| ()).unwrap();
        assert_eq!(evaluations, number(&run["network_evaluations"]));
    }
}

#[test]
fn dpm_solver() {
    let file = read("dpm_solver_pp_2m.json");
    for run in rows(&file["runs"]) {
        let chain = chain(&run["config"]);
        let steps = number(&run["steps"]) as usize;
        let karras = run["config"]["use_karras_sigmas"] == true;
        let sigmas = if karras {
            Sigmas::of_chain(&chain, Spacing::Linspace, steps)
                .unwrap()
                .spaced_by_rho(&chain, 7.0)
                .unwrap()
                .told_whole_steps()
        } else {
            DpmSolver::sigmas(&chain, Spacing::Linspace, steps).unwrap()
        };
        each_close("sigmas", &sigmas.values().collect::<Vec<_>>(), &numbers(&run["sigmas_f64"]), 1e-11);
        assert_eq!(sigmas.times().collect::<Vec<_>>(), numbers(&run["timesteps"]));
        let sampler = DpmSolver::new(&sigmas).unwrap();
        follow(run["case"].as_str().unwrap(), &sampler, &run["toy"], &mut Silence, &run["exact_f64"]);
    }
}

#[test]
fn pndm() {
    for run in rows(&read("pndm.json")["runs"]) {
        let (config, chain) = (&run["config"], chain(&run["config"]));
        let kept = spacing(config).steps(1000, 10).unwrap();
        let prediction = match config["prediction_type"].as_str().unwrap() {
            "v_prediction" => Prediction::V,
            _ => Prediction::Eps,
        };
        let sampler = Pndm::new(&chain, &kept, prediction, last_step(config)).unwrap();
        let mut times = vec![];
        let mut recorder = Recorder(&mut times);
        sampler.sample(start(1.0), &mut recorder, &mut Silence, |_, _| ()).unwrap();
        assert_eq!(times, numbers(&run["timesteps"]));
        follow(run["case"].as_str().unwrap(), &sampler, &run["toy"], &mut Silence, &run["exact_f64"]);
    }
}

/// Keeps what a network would be told.
struct Recorder<'t>(&'t mut Vec<f64>);

impl Denoiser<Vec<f64>> for Recorder<'_> {
    type Error = ProcessError;

    fn denoise(&mut self, x: &Vec<f64>, at: Point) -> Result<Denoised<Vec<f64>>, ProcessError> {
        self.0.push(at.time);
        Ok(Denoised { x0: x.clone(), noise: x.clone(), variance: None })
    }
}

#[test]
fn flow_euler() {
    for run in rows(&read("flow_matching.json")["runs"]) {
        let sampler = FlowEuler::new(number(&run["shift"]), 1000, number(&run["steps"]) as usize).unwrap();
        each_close("sigmas", sampler.values(), &numbers(&run["sigmas_f64"]), 1e-12);
        let times: Vec<f64> = (0..sampler.steps()).map(|step| sampler.time(step).unwrap()).collect();
        each_close("times", &times, &numbers(&run["timesteps_f32"]), 1e-6);
        follow("flow", &sampler, &run["toy"], &mut Silence, &run["exact_f64"]);
    }
}

/// Of data that is one point, every sampler finds the point.
#[test]
fn all_samplers_find_a_single_point() {
    let full = Schedule::of(Curve::SCALED_LINEAR).chain().unwrap();
    let kept = Spacing::Trailing.steps(1000, 8).unwrap();
    let sigmas = Sigmas::of_chain(&full, Spacing::Trailing, 8).unwrap();
    let edm = Sigmas::edm(0.002, 80.0, 7.0, 8).unwrap();
    let churn = Churn { amount: 2.0, ..Churn::NONE };
    let short = full.respaced(&kept).unwrap();
    finds_point(&Ddpm::new(&short, Variance::FixedLarge, None).unwrap());
    finds_point(&Ddim::new(&full, &kept, 1.0, LastStep::Clean, Some(1.0)).unwrap());
    finds_point(&Euler::new(sigmas.clone()));
    finds_point(&EulerAncestral::new(sigmas));
    finds_point(&Heun::new(edm, churn).unwrap());
    finds_point(&DpmSolver::new(&DpmSolver::sigmas(&full, Spacing::Linspace, 8).unwrap()).unwrap());
    finds_point(&Pndm::new(&full, &kept, Prediction::Eps, LastStep::Clean).unwrap());
    finds_point(&FlowEuler::new(3.0, 1000, 8).unwrap());
}

fn finds_point(sampler: &impl Sampler) {
    let mut known = Expected(|x: &Vec<f32>, _: Level| vec![0.5; x.len()]);
    let mut noise = |step: usize, x: &Vec<f32>| vec![(step as f32).sin(); x.len()];
    let first = vec![sampler.start() as f32; 3];
    let x = sampler.sample(first, &mut known, &mut noise, |_, _| ()).unwrap();
    assert!(x.iter().all(|x| (x - 0.5).abs() < 1e-4), "{x:?}");
}

/// The noise that an ancestral step takes away and adds back leaves the next deviation.
#[test]
fn euler_ancestral_step() {
    let sigmas = Sigmas::of(vec![(2.0, 1.0), (1.0, 0.0)]).unwrap();
    let mut known = Expected(|_: &f64, _: Level| 0.25);
    let mut noise = |_: usize, _: &f64| -0.8;
    let x = EulerAncestral::new(sigmas).step(0, &1.75, &mut vec![], &mut known, &mut noise).unwrap();
    // up² = 1 (4 - 1) / 4, down² = 1 - up²; the slope is 0.75.
    close("x", &[x], &[1.75 + (0.5 - 2.0) * 0.75 - 0.8 * 0.75_f64.sqrt()], 1e-15);
}

/// A preconditioned network sees unit variance, and what it says is undone.
#[test]
fn preconditioned_network() {
    let sigma = 3.0;
    let c = Precondition::EDM.coefficients(sigma).unwrap().unwrap();
    let mut network = Network {
        network: |x: &f64, time: f64| -> Result<_, ProcessError> {
            close("input", &[*x, time], &[c.input * 1.4, 3.0_f64.ln() / 4.0], 1e-15);
            Ok(Output { prediction: 0.7, variance: None })
        },
        scale: Scale::VarianceExploding,
        prediction: Prediction::X0,
        precondition: Precondition::EDM,
    };
    let at = Point { level: Level::variance_exploding(sigma), time: sigma };
    let known = network.denoise(&1.4, at).unwrap();
    close("x0", &[known.x0], &[c.skip * 1.4 + c.out * 0.7], 1e-15);
    close("noise", &[known.noise], &[(1.4 - known.x0) / sigma], 1e-15);
}
