//! One model on several devices: each takes its share of the passes of an update, and all take the same step.
//!
//! ```text
//! passes --dealt--> replica 0 --gradients--+              +--> AdamW on replica 0
//!                   replica 1 --gradients--+--> summed ---+--> AdamW on replica 1
//! ```
//!
//! Sums are the backend's ([`Exchange`]), so that this file knows nothing of how numbers travel. Replicas start alike, since
//! a seed draws their parameters, and stay alike, since every one of them takes the same sum; how many there are changes
//! what is learned by rounding alone.
//!
//! A replica lives in one thread for all of training: backends of GPUs order their work by thread. A pass that is not
//! finite ends training before anything is exchanged, so that no replica waits for one that has given up.

use super::batch::Batch;
use super::learner::{Gradients, Learner, Report, Trainer};
use crate::error::RunError;
use crate::host::HostTensor;
use crate::kernels::Tape;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// How replicas learn of each other's gradients.
pub(super) trait Exchange<B: Backend>: Send {
    /// The sum of each tensor over all replicas. All of them call it as often, with tensors of the same sizes.
    fn sum(&mut self, tensors: Vec<Tensor<B, 1>>) -> Vec<Tensor<B, 1>>;
}

/// One end of an exchange.
pub(super) type End<A> = Box<dyn Exchange<<A as AutodiffBackend>::InnerBackend>>;

/// A learner with what it has found since its last step.
struct Replica<A: Tape> {
    learner: Learner<A>,
    exchange: End<A>,
    found: Option<(Report, Gradients<A>)>,
}

impl<A: Tape> Replica<A> {
    fn pass(&mut self, batches: &[Batch], share: f64, measure: bool) -> Result<(), RunError> {
        self.found = Some(self.learner.gradients(batches, share, measure)?);
        Ok(())
    }

    /// A step along the gradients of all; the report is that of all, but for the loss.
    fn step(&mut self, share: f64) -> Report {
        let Some((report, gradients)) = self.found.take() else { return Report::default() };
        let is_there: Vec<bool> = gradients.iter().map(Option::is_some).collect();
        let mut sums = self.exchange.sum(gradients.into_iter().flatten().collect()).into_iter();
        let gradients = is_there.into_iter().map(|is_there| if is_there { sums.next() } else { None }).collect();
        self.learner.advance(report, gradients, share)
    }
}

type Job<A> = Box<dyn FnOnce(&mut Replica<A>) + Send>;

struct Worker<A: Tape> {
    /// None as soon as nothing is to be done any more.
    jobs: Option<Sender<Job<A>>>,
    thread: Option<JoinHandle<()>>,
}

impl<A: Tape + 'static> Worker<A> {
    /// A thread with a replica, or why there is none.
    fn start(
        number: usize,
        open: impl FnOnce() -> Result<Replica<A>, RunError> + Send + 'static,
    ) -> Result<(Self, Receiver<Result<(), RunError>>), RunError> {
        let (jobs, work) = channel::<Job<A>>();
        let (opened, is_open) = channel();
        let run = move || match open() {
            Ok(mut replica) => {
                let _ = opened.send(Ok(()));
                for job in work {
                    job(&mut replica);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name(format!("replica {number}")).spawn(run);
        let thread = thread.map_err(|error| RunError::Device(format!("no thread for a device: {error}")))?;
        Ok((Self { jobs: Some(jobs), thread: Some(thread) }, is_open))
    }

    /// What the replica makes of a job, when it has come to it; nothing if its thread has ended.
    fn ask<R: Send + 'static>(&self, job: impl FnOnce(&mut Replica<A>) -> R + Send + 'static) -> Receiver<R> {
        let (answer, answered) = channel();
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::new(move |replica| {
                let _ = answer.send(job(replica));
            }));
        }
        answered
    }
}

impl<A: Tape> Drop for Worker<A> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A model in training on several devices.
pub(super) struct Replicas<A: Tape> {
    workers: Vec<Worker<A>>,
    step: u64,
}

fn answer<R>(answered: &Receiver<R>) -> Result<R, RunError> {
    answered.recv().map_err(|_| RunError::Device("the thread of a device has ended: see above for why".to_owned()))
}

impl<A: Tape + 'static> Replicas<A> {
    /// One replica for each way to open one, each with its end of an exchange.
    pub fn open<F>(openings: Vec<(F, End<A>)>) -> Result<Self, RunError>
    where
        F: FnOnce() -> Result<Learner<A>, RunError> + Send + 'static,
    {
        let start = |(number, (open, exchange)): (usize, (F, End<A>))| {
            Worker::start(number, move || Ok(Replica { learner: open()?, exchange, found: None }))
        };
        let started = openings.into_iter().enumerate().map(start).collect::<Result<Vec<_>, _>>()?;
        let (workers, opened): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let own = Self { workers, step: 0 };
        for is_open in &opened {
            answer(is_open)??;
        }
        Ok(own)
    }

    /// What all replicas make of a job, by their number; all of them work at once.
    fn ask_all<R: Send + 'static>(
        &self,
        job: impl Fn(usize, &mut Replica<A>) -> R + Send + Sync + 'static,
    ) -> Result<Vec<R>, RunError> {
        let job = Arc::new(job);
        let ask = |(number, worker): (usize, &Worker<A>)| {
            let job = job.clone();
            worker.ask(move |replica| job(number, replica))
        };
        let answers: Vec<Receiver<R>> = self.workers.iter().enumerate().map(ask).collect();
        answers.iter().map(answer).collect()
    }

    /// What the first replica says, which all would say.
    fn ask_first<R: Send + Default + 'static>(&self, job: impl FnOnce(&Learner<A>) -> R + Send + 'static) -> R {
        let asked = self.workers.first().map(|worker| worker.ask(|replica| job(&replica.learner)));
        asked.and_then(|answered| answered.recv().ok()).unwrap_or_default()
    }
}

impl<A: Tape + 'static> Trainer for Replicas<A> {
    fn step(&self) -> u64 {
        self.step
    }

    fn update(&mut self, batches: &[Batch], measure: bool) -> Result<Report, RunError> {
        let share = 1.0 / batches.len().max(1) as f64;
        let own = batches.len().div_ceil(self.workers.len().max(1)).max(1);
        let batches: Vec<Batch> = batches.to_vec();
        let found = self.ask_all(move |number, replica| {
            let own = batches.chunks(own).nth(number).unwrap_or_default();
            replica.pass(own, share, measure && number == 0)
        })?;
        found.into_iter().collect::<Result<(), RunError>>()?;
        let reports = self.ask_all(move |_, replica| replica.step(share))?;
        self.step += 1;
        let loss = reports.iter().map(|report| report.loss).sum();
        let first = reports.into_iter().next().unwrap_or_default();
        Ok(Report { loss, ..first })
    }

    fn parameters(&self) -> BTreeMap<String, HostTensor> {
        self.ask_first(Learner::parameters)
    }

    fn averages(&self) -> BTreeMap<String, HostTensor> {
        self.ask_first(Learner::averages)
    }

    fn state(&self) -> BTreeMap<String, HostTensor> {
        self.ask_first(Learner::state)
    }

    fn restore(&mut self, step: u64, state: &BTreeMap<String, HostTensor>) -> Result<(), RunError> {
        let state = state.clone();
        let restored = self.ask_all(move |_, replica| replica.learner.restore(step, &state))?;
        self.step = step;
        restored.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSet, Elements, Samples};
    use crate::train::checkpoint::Checkpoint;
    use crate::train::{Recipe, go_on};
    use archc_compiler::ir::Graph;
    use archc_compiler::{Options, compile};
    use burn::backend::{Autodiff, Flex};
    use std::ops::ControlFlow;
    use std::sync::{Barrier, Mutex};

    type OnTape = Autodiff<Flex>;

    /// Sums by memory that threads share, in the order of the replicas.
    struct Shared {
        own: usize,
        all: Arc<Mutex<Vec<Vec<Tensor<Flex, 1>>>>>,
        barrier: Arc<Barrier>,
    }

    impl Exchange<Flex> for Shared {
        fn sum(&mut self, tensors: Vec<Tensor<Flex, 1>>) -> Vec<Tensor<Flex, 1>> {
            if let Some(slot) = self.all.lock().expect("no thread panics").get_mut(self.own) {
                *slot = tensors;
            }
            self.barrier.wait();
            let all = self.all.lock().expect("no thread panics").clone();
            self.barrier.wait();
            let add = |sum: Vec<Tensor<Flex, 1>>, own: Vec<Tensor<Flex, 1>>| {
                sum.into_iter().zip(own).map(|(sum, own)| sum + own).collect()
            };
            all.into_iter().reduce(add).unwrap_or_default()
        }
    }

    fn graph() -> Arc<Graph> {
        let spec = "arch 1
            model M(x: image[2, 2, 2], t: timestep) -> image[2, 2, 2] {
                process { schedule: flow; prediction: flow }
                let emb = t -> sinusoid(4) -> linear(2) @time
                let h = (x + emb) -> conv2d(4, kernel: 1) @first -> silu() -> dropout(0.1)
                h -> conv2d(2, kernel: 1) @last
            }";
        let compiled = compile("m.arch", None, &[], &[("m.arch", spec)], &Options::default()).expect("it exists");
        Arc::new(compiled.graph.expect("it compiles"))
    }

    fn data(scale: f32) -> DataSet {
        let elements = (0..64).map(|at| scale * ((at * 37 % 64) as f32 / 32.0 - 1.0)).collect();
        let samples = Samples { shape: vec![8, 2, 2, 2], data: Elements::F32(elements), range: None };
        DataSet { samples, labels: None, classes: vec![], conditions: BTreeMap::new() }
    }

    fn recipe() -> Recipe {
        Recipe { steps: 6, batch: 2, accumulate: 4, rate: 0.01, warmup: 0, clip: Some(0.5), ..Recipe::default() }
    }

    fn replicas(count: usize) -> Box<dyn Trainer> {
        let (all, barrier) = (Arc::new(Mutex::new(vec![vec![]; count])), Arc::new(Barrier::new(count)));
        let opening = |own: usize| {
            let exchange: End<OnTape> = Box::new(Shared { own, all: all.clone(), barrier: barrier.clone() });
            (|| Learner::<OnTape>::new(&graph(), &recipe(), None, Default::default()), exchange)
        };
        Box::new(Replicas::open((0..count).map(opening).collect()).expect("they open"))
    }

    fn alone() -> Box<dyn Trainer> {
        Box::new(Learner::<OnTape>::new(&graph(), &recipe(), None, Default::default()).expect("it opens"))
    }

    /// Reports until training ends or `stop` is reached, and the trainer if nothing went wrong.
    fn trained(
        trainer: Box<dyn Trainer>,
        data: &DataSet,
        from: Option<&Checkpoint>,
        stop: u64,
    ) -> (Vec<Report>, Result<Box<dyn Trainer>, RunError>) {
        let mut reports = vec![];
        let trainer = go_on(trainer, &graph(), data, &recipe(), from, |report, _| {
            reports.push(report.clone());
            Ok(if report.step == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        (reports, trainer)
    }

    #[track_caller]
    fn assert_alike(found: &dyn Trainer, expected: &dyn Trainer) {
        let (found, expected) = (found.state(), expected.state());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, found) in found {
            let expected = expected.get(&name).map(|tensor| tensor.to_f32()).unwrap_or_default();
            // Gradients are summed in another order; AdamW divides those near zero by their own size.
            for (found, expected) in found.to_f32().iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-5 * (1e-3 + expected.abs()), "{name}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn replicas_learn_what_one_model_learns() {
        let (expected, one) = trained(alone(), &data(1.0), None, u64::MAX);
        let one = one.expect("it trains");
        for count in [1, 2, 4] {
            let (reports, several) = trained(replicas(count), &data(1.0), None, u64::MAX);
            let several = several.expect("they train");
            assert_alike(&*several, &*one);
            for (found, expected) in reports.iter().zip(&expected) {
                assert_eq!((found.step, found.rate), (expected.step, expected.rate));
                // Rounding of the sums.
                assert!((found.loss - expected.loss).abs() <= 1e-6 * expected.loss, "{found:?}, not {expected:?}");
                let norm = expected.gradient_norm;
                assert!((found.gradient_norm - norm).abs() <= 1e-5 * norm, "{found:?}, not {expected:?}");
            }
        }
    }

    #[test]
    fn replicas_go_on_from_where_they_stopped() {
        let (_, through) = trained(replicas(2), &data(1.0), None, u64::MAX);
        let (_, stopped) = trained(replicas(2), &data(1.0), None, 3);
        let checkpoint = Checkpoint { step: 3, tensors: stopped.expect("they train").state() };
        let (reports, resumed) = trained(replicas(2), &data(1.0), Some(&checkpoint), u64::MAX);
        assert_eq!(reports.first().map(|report| report.step), Some(4));
        let (through, resumed) = (through.expect("they train"), resumed.expect("they train"));
        assert_eq!(through.state(), resumed.state());
    }

    #[test]
    fn one_replica_that_fails_ends_training_for_all() {
        // The squares of a few of these errors are infinite.
        let mut broken = data(1.0);
        if let Elements::F32(elements) = &mut broken.samples.data {
            elements.iter_mut().take(8).for_each(|element| *element = 1e30);
        }
        let (_, trainer) = trained(replicas(4), &broken, None, u64::MAX);
        let said = trainer.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("no longer finite"), "{said:?}");
    }

    #[test]
    fn a_replica_that_cannot_be_opened_says_why() {
        let opening = |fails: bool| {
            let (all, barrier) = (Arc::default(), Arc::new(Barrier::new(2)));
            let exchange: End<OnTape> = Box::new(Shared { own: 0, all, barrier });
            let open = move || match fails {
                true => Err(RunError::Device("not here".to_owned())),
                false => Learner::<OnTape>::new(&graph(), &recipe(), None, Default::default()),
            };
            (open, exchange)
        };
        let opened = Replicas::open(vec![opening(false), opening(true)]);
        assert_eq!(opened.err().map(|error| error.to_string()).as_deref(), Some("not here"));
    }
}
