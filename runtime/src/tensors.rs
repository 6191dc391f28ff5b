//! Safetensors files. Nothing else is read as tensors: no pickles, no code.
//!
//! A file is mapped, not read: tensors are converted one at a time, and what has been converted need not stay in memory. What a header says about sizes is checked against
//! the file before anything is touched. Files are written beside their place and renamed, so that nothing half-written
//! is ever found under the name that was asked for.

use crate::error::RunError;
use crate::host::{HostData, HostTensor};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A mapped file of tensors.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    map: Mmap,
}

impl TensorFile {
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let file = std::fs::File::open(path).map_err(|error| RunError::file(path, error))?;
        let length = file.metadata().map_err(|error| RunError::file(path, error))?.len();
        if length < 8 {
            return Err(RunError::file(path, "this is not a safetensors file: it is too short for a header"));
        }
        // SAFETY: the map is read-only and private. If another process cuts the file short while it is mapped, reads
        // fail as they do for every memory-mapped file; nothing is executed or written.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| RunError::file(path, error))?;
        let file = Self { path: path.to_owned(), map };
        file.view()?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors; fails if the header does not describe the file.
    fn view(&self) -> Result<SafeTensors<'_>, RunError> {
        SafeTensors::deserialize(&self.map)
            .map_err(|error| RunError::file(&self.path, format!("this is not a sound safetensors file: {error}")))
    }

    /// Remarks in the header.
    pub fn remarks(&self) -> Result<BTreeMap<String, String>, RunError> {
        let (_, header) = SafeTensors::read_metadata(&self.map)
            .map_err(|error| RunError::file(&self.path, format!("this is not a sound safetensors file: {error}")))?;
        Ok(header.metadata().iter().flatten().map(|(name, text)| (name.clone(), text.clone())).collect())
    }

    /// The header, read once for many tensors.
    pub fn tensors(&self) -> Result<Tensors<'_>, RunError> {
        Ok(Tensors { path: &self.path, map: &self.map, view: self.view()? })
    }
}

/// The header of a file with access to its tensors.
#[derive(Debug)]
pub struct Tensors<'f> {
    path: &'f Path,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only read to release pages"))]
    map: &'f Mmap,
    view: SafeTensors<'f>,
}

impl Tensors<'_> {
    /// Names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.view.names().into_iter().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Shape and dtype, without touching the data.
    pub fn describe(&self, name: &str) -> Option<(Vec<usize>, String)> {
        let view = self.view.tensor(name).ok()?;
        Some((view.shape().to_vec(), format!("{:?}", view.dtype())))
    }

    /// Whether its elements are floats, of any width.
    pub fn is_float(&self, name: &str) -> bool {
        self.view.tensor(name).is_ok_and(|view| is_float(view.dtype()))
    }

    /// A tensor with its elements; floats of any width become f32, whole numbers i64.
    pub fn read(&self, name: &str) -> Result<HostTensor, RunError> {
        let view = self.view.tensor(name).map_err(|error| RunError::file(self.path, format!("`{name}`: {error}")))?;
        let shape = view.shape().to_vec();
        let data = if is_int(view.dtype()) {
            HostData::I64(ints(&view))
        } else if is_float(view.dtype()) {
            HostData::F32(floats(&view))
        } else {
            let reason =
                format!("`{name}` has elements of type {:?}; floats or whole numbers are needed", view.dtype());
            return Err(RunError::file(self.path, reason));
        };
        Ok(HostTensor { shape, data })
    }

    /// Lets go of the pages of a tensor that has been read, so that a large file does not pile up in memory beside the
    /// model. Reading it again reads the file again.
    pub fn release(&self, name: &str) {
        #[cfg(unix)]
        if let Ok(view) = self.view.tensor(name)
            && let Some(offset) = (view.data().as_ptr() as usize).checked_sub(self.map.as_ptr() as usize)
        {
            // SAFETY: the map is private, read-only and backed by its file; a page that is dropped is read from there
            // again when it is next touched. That a page stays does no harm, so the answer does not matter.
            let _ = unsafe {
                self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, view.data().len())
            };
        }
        #[cfg(not(unix))]
        let _ = name;
    }
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16)
}

fn is_int(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8)
}

/// Elements of `N` bytes each, converted.
fn convert<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|element| from(*element)).collect()
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    match view.dtype() {
        Dtype::F64 => convert(view.data(), |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => convert(view.data(), |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => convert(view.data(), |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        _ => convert(view.data(), f32::from_le_bytes),
    }
}

fn ints(view: &TensorView<'_>) -> Vec<i64> {
    match view.dtype() {
        Dtype::I32 => convert(view.data(), |bytes| i64::from(i32::from_le_bytes(bytes))),
        Dtype::I16 => convert(view.data(), |bytes| i64::from(i16::from_le_bytes(bytes))),
        Dtype::I8 => convert(view.data(), |bytes| i64::from(i8::from_le_bytes(bytes))),
        Dtype::U8 => convert(view.data(), |[byte]| i64::from(byte)),
        _ => convert(view.data(), i64::from_le_bytes),
    }
}

/// A tensor on its way into a file.
struct Outgoing<'t>(&'t HostTensor);

impl safetensors::View for Outgoing<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.data {
            HostData::F32(_) => Dtype::F32,
            HostData::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match &self.0.data {
            HostData::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            HostData::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.0.len() * if matches!(self.0.data, HostData::F32(_)) { 4 } else { 8 }
    }
}

/// Writes tensors under their names. The file appears whole or not at all.
pub fn write(path: &Path, tensors: &BTreeMap<String, HostTensor>) -> Result<(), RunError> {
    write_with(path, tensors, None)
}

/// The same with remarks in the header.
pub fn write_with(
    path: &Path,
    tensors: &BTreeMap<String, HostTensor>,
    remarks: Option<HashMap<String, String>>,
) -> Result<(), RunError> {
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), Outgoing(tensor)));
    let file = beside(path)?;
    // One tensor at a time, so that a model is not in memory once more as bytes.
    safetensors::serialize_to_file(views, remarks, file.path()).map_err(|error| RunError::file(path, error))?;
    put(file, path)
}

/// Writes a file that appears whole or not at all.
pub fn write_whole(path: &Path, fill: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>) -> Result<(), RunError> {
    let mut file = beside(path)?;
    fill(file.as_file_mut()).map_err(|error| RunError::file(path, error))?;
    put(file, path)
}

/// A file without a name yet, in the folder where it will have one.
fn beside(path: &Path) -> Result<tempfile::NamedTempFile, RunError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Those of the temporary kind are for their owner alone.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| RunError::file(path, error))
}

fn put(file: tempfile::NamedTempFile, path: &Path) -> Result<(), RunError> {
    file.as_file().sync_all().map_err(|error| RunError::file(path, error))?;
    file.persist(path).map_err(|error| RunError::file(path, error.error))?;
    Ok(())
}
