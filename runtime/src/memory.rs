//! Memory that a run will need, and what there is of it.

use crate::error::RunError;
use archc_compiler::analysis::cost::{Costs, Unbound};
use archc_compiler::dim::Sizes;
use archc_compiler::ir::Graph;
use archc_compiler::passes::Optimized;
use std::fs::read_to_string;
use std::path::Path;

/// Bytes of an f32 element.
const ELEMENT: u64 = 4;

/// Bytes that a run needs at least: elements in f32, with every value freed after its last use. The buffers of the next
/// value can then be those of the last, which is the allocator's work. Scratch memory of single kernels comes on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Parameters, and for training their gradients and the two moments of AdamW.
    pub parameters: u64,
    /// Values that are alive at once, at most.
    pub values: u64,
}

impl Need {
    /// Of an evaluation of so many samples of these sizes, by the graph as it is or as passes leave it.
    pub fn of_evaluation(graph: &Graph, sizes: &Sizes, batch: usize, optimized: bool) -> Result<Self, Unbound> {
        let peak =
            if optimized { Costs::of(&Optimized::of(graph).graph, sizes)?.peak } else { Costs::of(graph, sizes)?.peak };
        Ok(Self { parameters: parameters(graph), values: peak.saturating_mul(batch as u64) })
    }

    /// Of a training step, which keeps all values for the way back.
    pub fn of_training(graph: &Graph, sizes: &Sizes, batch: usize) -> Result<Self, Unbound> {
        let values = Costs::of(graph, sizes)?.total().activations;
        Ok(Self { parameters: parameters(graph).saturating_mul(4), values: values.saturating_mul(batch as u64) })
    }

    /// What a training step needs even if it computes every value again on the way back.
    pub fn least_of_training(graph: &Graph, sizes: &Sizes, batch: usize) -> Result<Self, Unbound> {
        let Need { parameters, values } = Self::of_evaluation(graph, sizes, batch, false)?;
        Ok(Self { parameters: parameters.saturating_mul(4), values })
    }

    pub fn total(self) -> u64 {
        self.parameters.saturating_add(self.values)
    }

    /// An error if there is less memory than that, where the system tells.
    pub fn check(self) -> Result<(), RunError> {
        self.check_against(available())
    }

    fn check_against(self, available: Option<u64>) -> Result<(), RunError> {
        match available {
            Some(available) if available < self.total() => Err(RunError::Memory { need: self, available }),
            _ => Ok(()),
        }
    }
}

fn parameters(graph: &Graph) -> u64 {
    let elements = graph.parameters.iter().map(|parameter| parameter.elements());
    elements.fold(0, u64::saturating_add).saturating_mul(ELEMENT)
}

/// Bytes that this process can still get, swap included: what the machine has left, or its control group if that is less.
pub fn available() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| left_of_machine(&text));
    let group = Path::new("/sys/fs/cgroup");
    let number = |name: &str| read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let of_group = number("memory.max").zip(number("memory.current")).map(|(most, used)| most.saturating_sub(used));
    machine.into_iter().chain(of_group).min()
}

fn left_of_machine(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some((kibibytes("MemAvailable")? + kibibytes("SwapFree").unwrap_or(0)) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_the_system() {
        let text = "MemTotal:  100 kB\nMemAvailable:     40 kB\nSwapFree:         2 kB\n";
        assert_eq!(left_of_machine(text), Some(42 * 1024));
        assert_eq!(left_of_machine("MemTotal: 100 kB\n"), None);
    }

    #[test]
    fn too_little_is_said_with_the_prediction() {
        let need = Need { parameters: 3 << 30, values: 1 << 30 };
        assert!(need.check_against(Some(4 << 30)).is_ok() && need.check_against(None).is_ok());
        let said = need.check_against(Some(1 << 30)).expect_err("too little").to_string();
        assert_eq!(
            said,
            "this needs about 4.0 GiB of memory, 3.0 GiB for parameters and 1.0 GiB for values; 1.0 GiB are available. A \
             smaller `--batch` needs less"
        );
    }
}
