//! What makes no sense is an error that says so, never a panic and never a number that is none.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what is right has to be accepted")]

use archc_process::sampler::{Churn, Ddim, Ddpm, DpmSolver, FlowEuler, Heun, LastStep, Sampler, Sigmas, Silence};
use archc_process::{
    Chain, Curve, Expected, Guidance, Level, Precondition, Prediction, ProcessError, Scale, Schedule, Spacing, Times,
    Variance, Weighting, karras,
};

fn says<T>(result: Result<T, ProcessError>, text: &str) {
    match result {
        Ok(_) => panic!("accepted; expected: {text}"),
        Err(error) => assert!(error.to_string().contains(text), "{error}; expected: {text}"),
    }
}

fn steps(curve: Curve, steps: usize, zero_terminal_snr: bool) -> Result<Chain, ProcessError> {
    Schedule::Steps { curve, steps, zero_terminal_snr }.chain()
}

#[test]
fn schedules() {
    for curve in [Curve::LINEAR, Curve::SCALED_LINEAR, Curve::COSINE] {
        says(steps(curve, 0, false), "a schedule needs at least 1 step, and has 0");
        says(steps(curve, usize::MAX, false), "steps, but there are at most 1000000");
        says(steps(curve, 1, true), "a schedule that ends in pure noise needs at least 2 steps, and has 1");
        let one = steps(curve, 1, false).unwrap();
        assert!(one.posterior(0).unwrap().log_variance.is_finite());
    }
    says(steps(Curve::Linear { start: 0.0, end: 0.02 }, 10, false), "`start` is 0, but has to be above 0");
    says(steps(Curve::Linear { start: 0.1, end: 1.0 }, 10, false), "`end` is 1, but has to be above 0 and below 1");
    says(steps(Curve::ScaledLinear { start: 0.02, end: 0.01 }, 10, false), "`start` has to be the smaller one");
    says(steps(Curve::Linear { start: f64::NAN, end: 0.02 }, 10, false), "`start` is NaN");
    says(steps(Curve::Cosine { offset: -1.0, largest: 0.999 }, 10, false), "`offset` is -1");
    says(steps(Curve::Linear { start: 0.9, end: 0.9 }, 1000, false), "no signal is left after step");
    says(Chain::of_betas(vec![0.1, 1.5]), "`beta` is 1.5");
    says(Schedule::EDM.chain(), "no numbered steps");
    says(Schedule::Ve { sigma_min: 50.0, sigma_max: 0.01 }.validate(), "`sigma_min` has to be the smaller one");
    says(Schedule::Ve { sigma_min: 1.0, sigma_max: 1.0 }.validate(), "`sigma_min` has to be the smaller one");
    says(Schedule::Edm { sigma_min: 0.0, sigma_max: 80.0, rho: 7.0 }.validate(), "`sigma_min` is 0");
    says(Schedule::Edm { sigma_min: 0.1, sigma_max: 80.0, rho: 0.0 }.validate(), "`rho` is 0");
    says(Schedule::Flow { shift: 0.0, steps: 1000 }.validate(), "`shift` is 0");
    says(Schedule::Flow { shift: 1.0, steps: 0 }.validate(), "needs at least 1 step");
    says(Schedule::EDM.levels(1), "a sweep needs at least 2 steps");
    says(karras(0.1, 80.0, 7.0, 0), "a sampler needs at least 1 step");
}

#[test]
fn steps_visited() {
    says(Spacing::Linspace.steps(10, 0), "a sampler needs at least 1 step");
    says(Spacing::Linspace.steps(10, 11), "11 steps, but there are at most 10");
    says(Spacing::Leading { offset: 1 }.steps(10, 10), "there is no step 10 among 10");
    says(Spacing::named("uniform"), "no spacing is called `uniform`: there are linspace, leading, trailing");
    says(Spacing::sections(10, &[]), "a sampler needs at least 1 step");
    says(Spacing::sections(10, &[8, 3]), "8 steps, but there are at most 5");
    says(Spacing::whole_stride(1000, 999), "no whole stride makes 999 of 1000 steps");
    let chain = steps(Curve::LINEAR, 10, false).unwrap();
    says(chain.respaced(&[3, 2]), "have to ascend and lie below 10");
    says(chain.respaced(&[3, 10]), "have to ascend and lie below 10");
    says(chain.respaced(&[]), "needs at least 1 step");
    for spacing in [Spacing::Linspace, Spacing::Leading { offset: 0 }, Spacing::Trailing] {
        for total in [1, 2, 3, 7, 10, 1000] {
            for count in 1..=total.min(20) {
                let visited = spacing.steps(total, count).unwrap();
                assert_eq!(visited.len(), count, "{spacing:?} {total} {count}");
                assert!(visited.iter().all(|step| *step < total));
            }
        }
    }
}

#[test]
fn predictions_and_weights() {
    let pure = Level { signal: 0.0, noise: 1.0 };
    let clean = Level { signal: 1.0, noise: 0.0 };
    says(Prediction::Eps.data(pure), "says nothing about the data");
    says(Prediction::X0.noise(clean), "not known where there is none");
    says(Prediction::named("epsilon"), "no prediction is called `epsilon`: there are eps, x0, v, flow");
    says(Variance::named("learned"), "no variance is called `learned`");
    says(Level::variance_preserving(1.5), "`alpha_bar` is 1.5");
    says(pure.on(Scale::VarianceExploding), "no signal is left");
    says(Weighting::MinSnr { gamma: 5.0 }.weight(Prediction::Eps, pure), "says nothing about the data");
    assert_eq!(Weighting::MinSnr { gamma: 5.0 }.weight(Prediction::V, pure), Ok(0.0));
    says(Weighting::MinSnr { gamma: 0.0 }.weight(Prediction::V, pure), "`gamma` is 0");
    says(Weighting::SigmaSqrt.weight(Prediction::Flow, clean), "finite at every level");
    says(Precondition::Edm { sigma_data: 0.0 }.coefficients(1.0), "`sigma_data` is 0");
    says(Precondition::EDM.coefficients(0.0), "`sigma` is 0");
    says(Times::LogNormal { mean: 0.0, std: 0.0 }.drawn(0.0), "`std` is 0");
    says(Times::Uniform.drawn(2.0), "a uniform draw");
    says(Times::step(0.5, 0), "needs at least 1 step");
    assert_eq!(Times::step(1.0, 10), Ok(9));
    says(Guidance::new(f64::INFINITY, 0.0), "`guidance` is inf");
    says(Guidance::new(4.0, 2.0), "`rescale` is 2, but has to be from 0 to 1");
}

#[test]
fn samplers() {
    let chain = steps(Curve::LINEAR, 10, false).unwrap();
    says(Ddpm::new(&chain, Variance::FixedSmall, Some(0.0)), "`clip` is 0");
    says(Ddim::new(&chain, &[1, 5], 1.5, LastStep::Clean, None), "`eta` is 1.5");
    says(Ddim::new(&chain, &[1, 50], 0.0, LastStep::Clean, None), "lie below 10");
    says(FlowEuler::new(3.0, 1000, 0), "a sampler needs at least 1 step");
    says(FlowEuler::new(3.0, 10, 11), "11 steps, but there are at most 10");
    says(DpmSolver::sigmas(&chain, Spacing::Linspace, 10), "10 steps, but there are at most 9");
    says(Sigmas::edm(80.0, 0.002, 7.0, 5), "`sigma_min` has to be the smaller one");
    says(Sigmas::of(vec![(1.0, 0.0), (1.0, 0.0)]), "have to fall");
    let sigmas = Sigmas::edm(0.002, 80.0, 7.0, 5).unwrap();
    says(Heun::new(sigmas.clone(), Churn { amount: -1.0, ..Churn::NONE }), "`churn` is -1");
    says(Heun::new(sigmas, Churn { to: 0.0, from: 1.0, ..Churn::NONE }), "`churn to` is 0");

    let mut known = Expected(|x: &f64, _: Level| *x);
    let learned = Ddpm::new(&chain, Variance::LearnedRange, None).unwrap();
    says(learned.step(0, &0.0, &mut vec![], &mut known, &mut Silence), "the network gives none");
    says(learned.step(10, &0.0, &mut vec![], &mut known, &mut Silence), "there is no step 10 among 10");
    // A chain without signal at its end has finite deviations, and one step is enough for any sampler.
    let zero = steps(Curve::SCALED_LINEAR, 1000, true).unwrap();
    let sigmas = Sigmas::of_chain(&zero, Spacing::Trailing, 1).unwrap();
    assert!(sigmas.start().is_finite());
    assert!(DpmSolver::new(&sigmas.spaced_by_rho(&zero, 7.0).unwrap()).is_ok());
}
