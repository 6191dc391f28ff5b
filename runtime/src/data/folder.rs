//! Images in a folder. Subfolders are classes, in the order of their names.

use super::{DataSet, Elements, Samples};
use crate::error::RunError;
use image::{DynamicImage, ImageReader};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Problems that are listed, at most.
const SHOWN: usize = 10;

pub(super) fn read(folder: &Path, channels: usize) -> Result<DataSet, RunError> {
    let found = files(folder)?;
    let labelled = found.iter().filter(|(class, _)| class.is_some()).count();
    if labelled != 0 && labelled != found.len() {
        let reason =
            "images lie in the folder and in subfolders: put all of them in subfolders, one for each class, or none";
        return Err(RunError::file(folder, reason));
    }
    let mut classes: Vec<String> = found.iter().filter_map(|(class, _)| class.clone()).collect();
    classes.dedup();
    let (mut problems, mut data, mut labels) = (vec![], vec![], vec![]);
    let mut size: Option<((u32, u32), &Path)> = None;
    for (class, path) in &found {
        let image = match decoded(path) {
            Ok(image) => image,
            Err(error) => {
                problems.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        let own = (image.width(), image.height());
        let (known, first) = *size.get_or_insert((own, path));
        if own != known {
            let (wide, high) = known;
            let what = format!("{} is {} x {}, {} is {wide} x {high}", path.display(), own.0, own.1, first.display());
            problems.push(what);
            continue;
        }
        let Some(pixels) = pixels(&image, channels) else {
            return Err(other_channels(folder, channels));
        };
        data.extend(pixels);
        labels.extend(class.as_ref().and_then(|class| classes.binary_search(class).ok()).map(|class| class as i64));
    }
    if !problems.is_empty() {
        let rest = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        if rest > 0 {
            problems.push(format!("and {rest} more"));
        }
        let reason = format!(
            "not all images can be used; they have to be readable and of one size\n  {}",
            problems.join("\n  ")
        );
        return Err(RunError::file(folder, reason));
    }
    let ((width, height), _) =
        size.ok_or_else(|| RunError::file(folder, "there are no PNG or JPEG images in this folder"))?;
    let shape = vec![found.len(), channels, height as usize, width as usize];
    let samples = Samples { shape, data: Elements::U8(data), range: None };
    let labels = (!classes.is_empty()).then_some(labels);
    Ok(DataSet { samples, labels, classes, conditions: BTreeMap::new() })
}

/// The shape of one image, `[1, channels, height, width]`, and its bytes.
pub(super) fn image(path: &Path, channels: usize) -> Result<(Vec<usize>, Vec<u8>), RunError> {
    let image = decoded(path).map_err(|error| RunError::file(path, error))?;
    let pixels = pixels(&image, channels).ok_or_else(|| other_channels(path, channels))?;
    Ok((vec![1, channels, image.height() as usize, image.width() as usize], pixels))
}

fn other_channels(path: &Path, channels: usize) -> RunError {
    RunError::file(path, format!("the model has {channels} channels; images have 1, 3 or 4"))
}

/// Images in order, with their classes.
fn files(folder: &Path) -> Result<Vec<(Option<String>, PathBuf)>, RunError> {
    let mut found = vec![];
    for entry in walkdir::WalkDir::new(folder).min_depth(1).max_depth(2).sort_by_file_name() {
        let entry = entry.map_err(|error| RunError::file(folder, error))?;
        let extension = entry.path().extension().and_then(|own| own.to_str()).unwrap_or_default().to_lowercase();
        if !entry.file_type().is_file() || !matches!(extension.as_str(), "png" | "jpg" | "jpeg") {
            continue;
        }
        let parent = entry.path().parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        found.push((parent.filter(|_| entry.depth() == 2), entry.into_path()));
    }
    found.sort();
    Ok(found)
}

fn decoded(path: &Path) -> Result<DynamicImage, image::ImageError> {
    ImageReader::open(path)?.with_guessed_format()?.decode()
}

/// Bytes with the channels first.
fn pixels(image: &DynamicImage, channels: usize) -> Option<Vec<u8>> {
    let interleaved = match channels {
        1 => return Some(image.to_luma8().into_raw()),
        3 => image.to_rgb8().into_raw(),
        4 => image.to_rgba8().into_raw(),
        _ => return None,
    };
    Some(super::channels_first(&interleaved, channels, (image.width() * image.height()) as usize))
}
