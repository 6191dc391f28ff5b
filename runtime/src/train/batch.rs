//! What the network sees at each pass: samples in a shuffled order, noise, levels of noise, and what it should say.
//!
//! A batch is a function of the seed and its number alone, so that training goes on after an interruption as if there had
//! been none.

use crate::data::DataSet;
use crate::error::RunError;
use crate::host::HostTensor;
use crate::init;
use crate::interface::Interface;
use archc_compiler::ir::Graph;
use archc_process::{Lesson, Lessons};
use rand::Rng;
use rand::distr::Distribution;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;
use std::sync::Arc;

/// One pass.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its number, counted from 0 over all of training.
    pub number: u64,
    /// The samples without noise.
    pub clean: HostTensor,
    /// In the order of the model's inputs.
    pub inputs: Vec<HostTensor>,
    /// What the network should say, sample by sample.
    pub target: Vec<f32>,
    /// One for each sample.
    pub lessons: Vec<Lesson>,
}

/// Makes batches of a data set.
pub struct Batches<'d> {
    data: &'d DataSet,
    graph: Arc<Graph>,
    interface: Interface,
    lessons: Lessons,
    seed: u64,
    size: usize,
    /// The order of the samples in one epoch.
    epoch: Option<(u64, Vec<usize>)>,
}

impl<'d> Batches<'d> {
    /// Batches of `size` samples.
    pub fn new(graph: &Arc<Graph>, data: &'d DataSet, size: usize, seed: u64) -> Result<Self, RunError> {
        let interface = Interface::of(graph)?;
        let lessons = Lessons::of(&interface.process)?;
        if data.samples.len() < size {
            let count = data.samples.len();
            let reason = format!("there are {count} samples, too few for a batch of {size}: take a smaller --batch");
            return Err(RunError::Unsupported(reason));
        }
        Ok(Self { data, graph: graph.clone(), interface, lessons, seed, size, epoch: None })
    }

    /// The batch of a number.
    pub fn get(&mut self, number: u64) -> Result<Batch, RunError> {
        let rows: Vec<usize> = (0..self.size as u64).map(|at| self.sample(number * self.size as u64 + at)).collect();
        let clean = self.data.samples.rows(&rows);
        let width = self.data.samples.width();
        let mut stream = init::stream(self.seed, &format!("batch.{number}.level"));
        let lessons: Result<Vec<Lesson>, RunError> = rows
            .iter()
            .map(|_| {
                let random: f64 =
                    if self.lessons.is_normal() { StandardNormal.sample(&mut stream) } else { stream.random() };
                Ok(self.lessons.drawn(random)?)
            })
            .collect();
        let lessons = lessons?;
        let noise = init::stream(self.seed, &format!("batch.{number}.noise"));
        let noise: Vec<f32> = Distribution::sample_iter(StandardNormal, noise).take(clean.len()).collect();
        let mixed = |of: fn(&Lesson) -> (f64, f64)| -> Vec<f32> {
            let samples = clean.chunks(width).zip(noise.chunks(width)).zip(&lessons);
            let each = |((clean, noise), lesson): ((&[f32], &[f32]), &Lesson)| -> Vec<f32> {
                let (p, q) = of(lesson);
                let mix = |(x0, n): (&f32, &f32)| (p * f64::from(*x0) + q * f64::from(*n)) as f32;
                clean.iter().zip(noise).map(mix).collect()
            };
            samples.flat_map(each).collect()
        };
        let shape: Vec<usize> =
            std::iter::once(rows.len()).chain(self.data.samples.shape.iter().skip(1).copied()).collect();
        let noisy = HostTensor::f32(shape.clone(), mixed(|lesson| lesson.input));
        let target = mixed(|lesson| lesson.target);
        let clean = HostTensor::f32(shape, clean);
        let told: Vec<f32> = lessons.iter().map(|lesson| lesson.told as f32).collect();
        let labels: Vec<i64> = match &self.data.labels {
            Some(labels) => rows.iter().filter_map(|row| labels.get(*row)).copied().collect(),
            None => vec![],
        };
        let conditions = self.data.conditions.iter().map(|(name, tensor)| (name.clone(), tensor.rows(&rows))).collect();
        let inputs = self.interface.inputs(&self.graph, noisy, &told, &labels, &conditions)?;
        Ok(Batch { number, clean, inputs, target, lessons })
    }

    /// The sample at a place in the endless sequence of shuffled epochs.
    fn sample(&mut self, place: u64) -> usize {
        let count = self.data.samples.len().max(1) as u64;
        let (epoch, at) = (place / count, (place % count) as usize);
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let mut order: Vec<usize> = (0..count as usize).collect();
            order.shuffle(&mut init::stream(self.seed, &format!("epoch.{epoch}")));
            self.epoch = Some((epoch, order));
        }
        self.epoch.as_ref().and_then(|(_, order)| order.get(at)).copied().unwrap_or(0)
    }
}
