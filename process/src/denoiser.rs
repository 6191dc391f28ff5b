//! From the output of a network to what samplers need.

use crate::{Field, Level, Precondition, Prediction, ProcessError, Scale};

/// Where a sampler asks: the value is `level.signal · x0 + level.noise · n`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Signal and noise of the value.
    pub level: Level,
    /// What the network is told about the noise, unless its preconditioning says otherwise.
    pub time: f64,
}

/// What is known about a noisy value.
#[derive(Debug, Clone, PartialEq)]
pub struct Denoised<T> {
    /// The expected data.
    pub x0: T,
    /// The expected noise.
    pub noise: T,
    /// Where the variance of a reverse step lies: from -1, the lower bound, to 1, the upper one.
    pub variance: Option<T>,
}

/// Says what is known about a noisy value.
pub trait Denoiser<T> {
    /// What can fail.
    type Error: From<ProcessError>;

    /// What is known about `x`.
    fn denoise(&mut self, x: &T, at: Point) -> Result<Denoised<T>, Self::Error>;
}

/// A denoiser that knows the expected data in closed form.
#[derive(Debug, Clone, Copy)]
pub struct Expected<F>(pub F);

impl<T: Field, F: FnMut(&T, Level) -> T> Denoiser<T> for Expected<F> {
    type Error = ProcessError;

    fn denoise(&mut self, x: &T, at: Point) -> Result<Denoised<T>, ProcessError> {
        let x0 = (self.0)(x, at.level);
        let noise = Prediction::X0.noise_of(x, &x0, at.level)?;
        Ok(Denoised { x0, noise, variance: None })
    }
}

/// What a network says.
#[derive(Debug, Clone, PartialEq)]
pub struct Output<T> {
    /// The prediction.
    pub prediction: T,
    /// A learned variance, from -1 to 1.
    pub variance: Option<T>,
}

/// A network with what its output stands for. The network is given its input on the scale it was trained on and what it
/// is told about the noise.
#[derive(Debug, Clone)]
pub struct Network<F> {
    /// The network.
    pub network: F,
    /// The scale that it was trained on.
    pub scale: Scale,
    /// What its output stands for; not asked where it is preconditioned.
    pub prediction: Prediction,
    /// What stands around it.
    pub precondition: Precondition,
}

impl<T: Field, E: From<ProcessError>, F: FnMut(&T, f64) -> Result<Output<T>, E>> Denoiser<T> for Network<F> {
    type Error = E;

    fn denoise(&mut self, x: &T, at: Point) -> Result<Denoised<T>, E> {
        // Preconditioning is stated for data to which noise was added.
        let scale = if self.precondition == Precondition::None { self.scale } else { Scale::VarianceExploding };
        let own = at.level.on(scale)?;
        let input = x.scaled(at.level.factor_to(own));
        if let Some(c) = self.precondition.at(own)? {
            let output = (self.network)(&input.scaled(c.input), c.noise)?;
            let x0 = T::combine(c.skip, &input, c.out, &output.prediction);
            let noise = Prediction::X0.noise_of(&input, &x0, own)?;
            return Ok(Denoised { x0, noise, variance: output.variance });
        }
        let output = (self.network)(&input, at.time)?;
        let x0 = self.prediction.data_of(&input, &output.prediction, own)?;
        let noise = self.prediction.noise_of(&input, &output.prediction, own)?;
        Ok(Denoised { x0, noise, variance: output.variance })
    }
}
