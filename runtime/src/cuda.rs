//! What a GPU needs before Burn touches it. Burn panics where it is missing, so it is looked for first.

use crate::error::RunError;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::cuda::install::cuda_path;
use std::sync::Once;

/// Finds the driver, the compiler of kernels and its headers, or says which is missing.
pub(crate) fn prepare() -> Result<(), RunError> {
    library(&["libcuda.so.1", "nvcuda.dll"], "there is no CUDA driver on this machine (libcuda.so.1)")?;
    let compiler = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "nvrtc64_130_0.dll", "nvrtc64_120_0.dll"];
    library(&compiler, "CUDA's run-time compiler is missing (libnvrtc.so): put it on LD_LIBRARY_PATH")?;
    if cuda_path().is_none_or(|path| !path.join("include").is_dir()) {
        let missing = "CUDA's headers are missing: let CUDA_PATH be the folder that holds `include`";
        return Err(RunError::Device(missing.to_owned()));
    }
    remember_kernels();
    Ok(())
}

/// Finds what sums gradients of several GPUs.
pub(crate) fn prepare_several() -> Result<(), RunError> {
    prepare()?;
    library(&["libnccl.so.2", "libnccl.so"], "several GPUs need NCCL, which is not there (libnccl.so.2)")
}

fn library(names: &[&str], missing: &str) -> Result<(), RunError> {
    let loads = |name: &&str| {
        // SAFETY: loading a library of NVIDIA's runs its initialisers, as every CUDA program does.
        unsafe { libloading::Library::new(name) }.is_ok()
    };
    if names.iter().any(loads) { Ok(()) } else { Err(RunError::Device(missing.to_owned())) }
}

/// Keeps compiled kernels, and which of them were fastest, where the platform keeps caches; unless a `cubecl.toml` says
/// where.
fn remember_kernels() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Some(folder) = dirs::cache_dir().map(|folder| folder.join("archc")) else { return };
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        if matches!(config.autotune.cache, CacheConfig::Target) {
            config.autotune.cache = CacheConfig::File(folder.clone());
        }
        config.compilation.cache.get_or_insert(CacheConfig::File(folder));
        CubeClRuntimeConfig::set(config);
    });
}
