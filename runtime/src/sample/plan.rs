//! Samplers by name, made to fit a process.

use crate::error::RunError;
use archc_compiler::suggest::did_you_mean;
use archc_process::sampler::{
    Churn, Ddim, Ddpm, DpmSolver, Euler, EulerAncestral, FlowEuler, Heun, LastStep, Noise, Pndm, Sampler, Sigmas,
};
use archc_process::{Chain, Curve, Denoiser, Field, Process, ProcessError, Schedule, Spacing, Variance};
use std::ops::Range;

/// How samples are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// One of [`Method::valid`]; without one, the first of them.
    pub sampler: Option<String>,
    pub steps: usize,
    /// Which steps of a chain are visited: `linspace`, `leading`, `trailing`; without one, what suits the chain.
    pub spacing: Option<String>,
    /// Added to every step that is visited, for `leading`.
    pub offset: usize,
    /// Share of new noise in `ddim`.
    pub eta: f64,
    /// Noise that `heun` adds over all steps.
    pub churn: f64,
    /// Whether the deviations of a chain are spaced as in EDM, for `euler`, `euler_a`, `heun`, `dpmpp_2m`.
    pub karras: bool,
    /// The expected data is limited to so much, in `ddpm` and `ddim`.
    pub clip: Option<f64>,
    /// What the last step of `ddim` and `pndm` ends at.
    pub last: LastStep,
    /// The variance of the steps of `ddpm`, where it is not that of the process.
    pub variance: Option<Variance>,
}

impl Default for Method {
    fn default() -> Self {
        Self {
            sampler: None,
            steps: 32,
            spacing: None,
            offset: 0,
            eta: 0.0,
            churn: 0.0,
            karras: false,
            clip: None,
            last: LastStep::Clean,
            variance: None,
        }
    }
}

const CHAIN: [&str; 7] = ["ddim", "ddpm", "pndm", "euler", "euler_a", "heun", "dpmpp_2m"];
const SIGMAS: [&str; 4] = ["heun", "euler", "euler_a", "dpmpp_2m"];
const FLOW: [&str; 1] = ["flow_euler"];
/// Samplers along deviations, which can be spaced as in EDM.
const SPACED: [&str; 4] = ["euler", "euler_a", "heun", "dpmpp_2m"];
/// What EDM spaces deviations by.
const RHO: f64 = 7.0;

impl Method {
    /// The samplers that a process can be sampled with, the usual one first.
    #[must_use]
    pub fn valid(process: &Process) -> &'static [&'static str] {
        match process.schedule {
            Schedule::Steps { .. } => &CHAIN,
            Schedule::Ve { .. } | Schedule::Edm { .. } => &SIGMAS,
            Schedule::Flow { .. } => &FLOW,
        }
    }

    /// Whether a sampler can space deviations as in EDM.
    #[must_use]
    pub fn is_spaced(sampler: &str) -> bool {
        SPACED.contains(&sampler)
    }

    /// The name of the sampler.
    pub fn name(&self, process: &Process) -> Result<&'static str, RunError> {
        let valid = Self::valid(process);
        let Some(asked) = &self.sampler else { return Ok(valid.first().copied().unwrap_or("ddim")) };
        if let Some(found) = valid.iter().find(|name| *name == asked) {
            return Ok(found);
        }
        let list = valid.join(", ");
        let known = CHAIN.iter().chain(&FLOW).any(|name| name == asked);
        Err(RunError::Unsupported(if known {
            format!("the sampler `{asked}` does not fit the schedule of this model; those that do: {list}")
        } else {
            let hint = did_you_mean(asked, valid.iter().copied()).map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("there is no sampler `{asked}`{hint}; this model has {list}")
        }))
    }

    /// The plan of all steps.
    pub(super) fn plan(&self, process: &Process) -> Result<Plan, RunError> {
        let name = self.name(process)?;
        self.check_options(name)?;
        Ok(match name {
            "ddpm" | "ddim" | "pndm" => self.on_chain(name, process)?,
            "flow_euler" => {
                let Schedule::Flow { shift, steps } = process.schedule else {
                    return Err(ProcessError::Contradiction("the schedule is no straight line".to_owned()).into());
                };
                Plan::FlowEuler(FlowEuler::new(shift, steps, self.steps)?)
            }
            "euler" => Plan::Euler(Euler::new(self.sigmas(process)?)),
            "euler_a" => Plan::EulerAncestral(EulerAncestral::new(self.sigmas(process)?)),
            "heun" => {
                let churn = Churn { amount: self.churn, ..Churn::NONE };
                Plan::Heun(Heun::new(self.sigmas(process)?, churn)?)
            }
            _ => Plan::DpmSolver(DpmSolver::new(&self.dpm_sigmas(process)?)?),
        })
    }

    /// Samplers of the steps of a chain.
    fn on_chain(&self, name: &str, process: &Process) -> Result<Plan, RunError> {
        let chain = process.schedule.chain()?;
        let visited = self.spacing(&chain)?.steps(chain.len(), self.steps)?;
        Ok(match name {
            "ddpm" => {
                let variance = self.variance.unwrap_or(process.variance);
                Plan::Ddpm(Ddpm::new(&chain.respaced(&visited)?, variance, self.clip)?)
            }
            "pndm" => Plan::Pndm(Pndm::new(&chain, &visited, process.prediction, self.last)?),
            _ => Plan::Ddim(Ddim::new(&chain, &visited, self.eta, self.last, self.clip)?),
        })
    }

    /// Options that this sampler has no use for.
    fn check_options(&self, name: &str) -> Result<(), RunError> {
        if self.offset != 0 && self.spacing.as_deref() != Some("leading") {
            return Err(RunError::Unsupported("an `offset` goes with the spacing `leading`".to_owned()));
        }
        let idle = [
            ("eta", self.eta != 0.0, ["ddim"].as_slice()),
            ("churn", self.churn != 0.0, &["heun"]),
            ("clip", self.clip.is_some(), &["ddpm", "ddim"]),
            ("karras", self.karras, &SPACED),
        ];
        for (option, given, of) in idle {
            if given && !of.contains(&name) {
                let list = of.join(", ");
                return Err(RunError::Unsupported(format!("`{name}` has no option `{option}`; it is one of {list}")));
            }
        }
        Ok(())
    }

    fn spacing(&self, chain: &Chain) -> Result<Spacing, ProcessError> {
        match &self.spacing {
            Some(name) => match Spacing::named(name)? {
                Spacing::Leading { offset } => Ok(Spacing::Leading { offset: offset + self.offset }),
                spacing @ (Spacing::Linspace | Spacing::Trailing) => Ok(spacing),
            },
            // A chain that ends without signal has to be entered there.
            None if chain.kept().last().is_some_and(|kept| *kept == 0.0) => Ok(Spacing::Trailing),
            None => Ok(Spacing::Linspace),
        }
    }

    /// The deviations of `dpmpp_2m`. Spaced as in EDM they reach from end to end of a chain, and the network is told the
    /// nearest step; but for the cosine schedule, as published (diffusers, `DPMSolverMultistepScheduler`).
    fn dpm_sigmas(&self, process: &Process) -> Result<Sigmas, RunError> {
        let Schedule::Steps { curve, .. } = process.schedule else { return self.sigmas(process) };
        let chain = process.schedule.chain()?;
        if !self.karras {
            let spacing = if self.spacing.is_some() { self.spacing(&chain)? } else { Spacing::Linspace };
            return Ok(DpmSolver::sigmas(&chain, spacing, self.steps)?);
        }
        let sigmas = Sigmas::of_chain(&chain, Spacing::Linspace, self.steps)?.spaced_by_rho(&chain, RHO)?;
        Ok(if matches!(curve, Curve::Cosine { .. }) { sigmas } else { sigmas.told_whole_steps() })
    }

    fn sigmas(&self, process: &Process) -> Result<Sigmas, RunError> {
        Ok(match process.schedule {
            Schedule::Steps { .. } => {
                let chain = process.schedule.chain()?;
                let sigmas = Sigmas::of_chain(&chain, self.spacing(&chain)?, self.steps)?;
                if self.karras { sigmas.spaced_by_rho(&chain, RHO)? } else { sigmas }
            }
            Schedule::Edm { sigma_min, sigma_max, rho } => Sigmas::edm(sigma_min, sigma_max, rho, self.steps)?,
            Schedule::Ve { .. } | Schedule::Flow { .. } => {
                let levels = process.schedule.levels(self.steps)?;
                Sigmas::of(levels.iter().rev().map(|level| (level.sigma(), level.sigma())).collect())?
            }
        })
    }
}

/// A sampler.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Ddpm(Ddpm),
    Ddim(Ddim),
    Pndm(Pndm),
    Euler(Euler),
    EulerAncestral(EulerAncestral),
    Heun(Heun),
    DpmSolver(DpmSolver),
    FlowEuler(FlowEuler),
}

/// The same expression for every sampler.
macro_rules! each {
    ($plan:expr, $sampler:ident => $body:expr) => {
        match $plan {
            Plan::Ddpm($sampler) => $body,
            Plan::Ddim($sampler) => $body,
            Plan::Pndm($sampler) => $body,
            Plan::Euler($sampler) => $body,
            Plan::EulerAncestral($sampler) => $body,
            Plan::Heun($sampler) => $body,
            Plan::DpmSolver($sampler) => $body,
            Plan::FlowEuler($sampler) => $body,
        }
    };
}

impl Plan {
    pub fn steps(&self) -> usize {
        each!(self, sampler => sampler.steps())
    }

    pub fn start(&self) -> f64 {
        each!(self, sampler => sampler.start())
    }

    /// Walks some of the steps.
    pub fn walk<T: Field, D: Denoiser<T>, N: Noise<T>>(
        &self,
        steps: Range<usize>,
        start: T,
        denoiser: &mut D,
        noise: &mut N,
        watch: impl FnMut(usize, &T),
    ) -> Result<T, D::Error> {
        each!(self, sampler => sampler.walk(steps, start, denoiser, noise, watch))
    }
}
