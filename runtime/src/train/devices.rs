//! Where a model is trained.

use super::recipe::Recipe;
use crate::error::RunError;
use crate::session::Device;
use std::collections::BTreeSet;

/// Devices of one kind, all of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    pub kind: Device,
    /// Numbers of GPUs, counted from 0; none for the first.
    pub numbers: Vec<usize>,
}

impl From<Device> for Devices {
    fn from(kind: Device) -> Self {
        Self { kind, numbers: vec![] }
    }
}

impl Devices {
    /// Whether they can share the passes of an update.
    pub fn validate(&self, recipe: &Recipe) -> Result<(), RunError> {
        let refuse = |reason: String| Err(RunError::Unsupported(reason));
        let count = self.numbers.len();
        if self.kind == Device::Cpu && count > 0 {
            return refuse(
                "`devices` are numbers of GPUs: they go with `--device cuda`; a CPU is one device".to_owned(),
            );
        }
        if self.numbers.iter().collect::<BTreeSet<_>>().len() < count {
            return refuse(format!("`devices` names one twice: {:?}", self.numbers));
        }
        if count > 1 && !recipe.accumulate.is_multiple_of(count) {
            let passes = recipe.accumulate;
            return refuse(format!(
                "{count} devices cannot share the {passes} passes of an update evenly: let `--accumulate` be a multiple of \
                 {count}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_share_passes_evenly_or_say_why_not() {
        let recipe = |accumulate| Recipe { accumulate, ..Recipe::default() };
        let said = |kind, numbers: &[usize], accumulate| {
            let devices = Devices { kind, numbers: numbers.to_vec() };
            devices.validate(&recipe(accumulate)).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(said(Device::Cuda, &[0, 1], 4), "");
        assert_eq!(said(Device::Cuda, &[3], 1), "");
        assert!(said(Device::Cuda, &[0, 1], 1).contains("a multiple of 2"));
        assert!(said(Device::Cuda, &[0, 0], 2).contains("twice"));
        assert!(said(Device::Cpu, &[0, 1], 2).contains("--device cuda"));
    }
}
