//! The kernels of the runtime as files of a crate that asks for them: what they hold stands there alone.

use crate::ops::activation::Function;

macro_rules! kernels {
    ($($name:literal),*) => {
        /// Name and source of each file of kernels that layers use.
        const KERNELS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../runtime/src/kernels/", $name, ".rs")))),*];
    };
}

kernels!["activation", "attention", "broadcast", "conv2d", "flex", "linear", "norm", "simd"];

const ROOT: &str = include_str!("helpers/kernels/root.rs");

/// Files of a folder `kernels`, by name.
pub(super) fn files() -> Vec<(String, String)> {
    let functions: Vec<String> = Function::ALL.iter().map(|function| format!("{function:?}")).collect();
    let root = ROOT.replace("$FUNCTIONS", &functions.join(",\n    "));
    // Their tests need the whole runtime.
    let without_tests = |source: &str| match source.split_once("\n#[cfg(test)]\n") {
        Some((own, _)) => own.to_owned(),
        None => source.to_owned(),
    };
    let own = KERNELS.iter().map(|(name, source)| (format!("{name}.rs"), without_tests(source)));
    [("mod.rs".to_owned(), root)].into_iter().chain(own).collect()
}
