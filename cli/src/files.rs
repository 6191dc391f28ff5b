//! Files: specs in folders, and replacing a file without ever leaving half of it.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The name of a path as sources are called: forward slashes.
pub fn name(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = if cfg!(windows) { text.replace('\\', "/") } else { text.into_owned() };
    text.strip_prefix("./").map_or(text.clone(), str::to_owned)
}

/// The specs behind some paths, sorted within folders; and what could not be looked at.
pub fn specs(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<String>) {
    let (mut found, mut problems) = (vec![], vec![]);
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    found.extend(entry.path().extension().is_some_and(|e| e == "arch").then(|| entry.into_path()));
                }
                Ok(_) => {}
                Err(error) => problems.push(error.to_string()),
            }
        }
        if found.len() == before {
            problems.push(format!("{}: there are no .arch files in this folder", path.display()));
        }
    }
    (found, problems)
}

/// Replaces the text of a file: written beside it, then renamed, with its permissions.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let explain = |error: std::io::Error| format!("{}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(explain)?;
    if metadata.permissions().readonly() {
        return Err(format!("{}: this file is read-only", path.display()));
    }
    write_beside(path, text, Some(metadata.permissions())).map_err(explain)
}

/// Writes a file that may be new.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    if path.is_dir() {
        return Err(format!("{}: this is a folder", path.display()));
    }
    if path.exists() {
        return replace(path, text);
    }
    write_beside(path, text, None).map_err(|error| format!("{}: {error}", path.display()))
}

/// New texts of files that exist, given with their old ones: all of them, or none.
///
/// # Errors
///
/// Says what failed. Every file then holds its old text, or the message names it.
pub fn replace_all(files: &[(&Path, &str, &str)]) -> Result<(), String> {
    let explain = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    // What takes room or rights is done before the first file is replaced.
    let mut staged = Vec::with_capacity(files.len());
    for (path, _, after) in files {
        let permissions = std::fs::metadata(path).map_err(|error| explain(path, error))?.permissions();
        staged.push(beside(path, after, Some(permissions)).map_err(|error| explain(path, error))?);
    }
    for (at, (file, (path, ..))) in staged.into_iter().zip(files).enumerate() {
        let Err(error) = file.persist(path) else { continue };
        let undone = files.iter().take(at).map(|(path, before, _)| replace(path, before));
        let lost: Vec<String> =
            undone.filter_map(Result::err).map(|error| format!("; not put back: {error}")).collect();
        return Err(format!("{}{}", explain(path, error.error), lost.concat()));
    }
    Ok(())
}

fn write_beside(path: &Path, text: &str, permissions: Option<std::fs::Permissions>) -> std::io::Result<()> {
    beside(path, text, permissions)?.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A text in a file without a name yet, in the folder of the one that it is to become.
fn beside(
    path: &Path,
    text: &str,
    permissions: Option<std::fs::Permissions>,
) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = new_file(folder, permissions.is_none())?;
    file.write_all(text.as_bytes())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    Ok(file)
}

/// A file without a name yet. Those of the temporary kind are for their owner alone; a new spec is for whoever may read
/// the files of the user.
fn new_file(folder: &Path, is_public: bool) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    if is_public {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = is_public;
    builder.tempfile_in(folder)
}

/// Marks folders that archc wrote and may replace.
const MARKER: &str = ".archc";

/// Whether a folder can be written: it is new, empty, ours, or forced.
pub fn may_replace(folder: &Path, force: bool) -> Result<(), String> {
    let name = folder.display();
    if !folder.exists() {
        return Ok(());
    }
    if !folder.is_dir() {
        return Err(format!("{name}: this is a file, not a folder"));
    }
    let mut entries = std::fs::read_dir(folder).map_err(|error| format!("{name}: {error}"))?;
    if force || folder.join(MARKER).is_file() || entries.next().is_none() {
        return Ok(());
    }
    Err(format!(
        "{name}: this folder exists and was not written by archc; choose another one, or replace it with `--force`"
    ))
}

/// Replaces a folder by one with these files: written beside it, then renamed.
pub fn write_folder(folder: &Path, files: &[(String, String)]) -> Result<(), String> {
    let explain = |error: std::io::Error| format!("{}: {error}", folder.display());
    let outer = folder.parent().filter(|outer| !outer.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(outer).map_err(explain)?;
    let beside = tempfile::Builder::new().prefix(".archc-").tempdir_in(outer).map_err(explain)?;
    let new = beside.path().join("new");
    for (path, text) in files {
        let path = new.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&new)).map_err(explain)?;
        std::fs::write(path, text).map_err(explain)?;
    }
    std::fs::write(new.join(MARKER), "archc wrote this folder and may replace it.\n").map_err(explain)?;
    // What cargo has built there stays.
    let old = beside.path().join("old");
    if folder.exists() {
        if folder.join("target").is_dir() {
            std::fs::rename(folder.join("target"), new.join("target")).map_err(explain)?;
        }
        std::fs::rename(folder, &old).map_err(explain)?;
    }
    std::fs::rename(&new, folder).map_err(|error| {
        // The old folder comes back where the new one cannot take its place.
        let _ = std::fs::rename(&old, folder);
        explain(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_replaced_together_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), "old").expect("a file");
        }
        let text = |name: &str| std::fs::read_to_string(path(name)).expect("a file");
        let (a, b, none) = (path("a"), path("b"), path("none"));
        assert!(replace_all(&[(&a, "old", "new"), (&none, "old", "new")]).is_err());
        assert_eq!(text("a"), "old");
        replace_all(&[(&a, "old", "new"), (&b, "old", "new")]).expect("both are there");
        assert_eq!((text("a"), text("b")), ("new".to_owned(), "new".to_owned()));
        // A folder can be described and not be replaced by a file: what was done before it is put back.
        std::fs::create_dir(path("folder")).expect("a folder");
        std::fs::write(path("folder/inner"), "").expect("a file");
        let inner = path("folder");
        assert!(replace_all(&[(&a, "new", "newest"), (&inner, "", "text"), (&b, "new", "newest")]).is_err());
        assert_eq!((text("a"), text("b")), ("new".to_owned(), "new".to_owned()));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3, "nothing is left beside them");
    }
}
