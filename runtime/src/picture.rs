//! Samples as a picture: a grid in a PNG file.

use crate::error::RunError;
use crate::host::HostTensor;
use image::{ColorType, ImageEncoder};
use std::path::Path;

/// Pixels between samples.
const GAP: usize = 1;
/// Smaller samples are enlarged in whole steps, so that a person sees them.
const LEAST_SIDE: usize = 32;

/// Writes images `[count, channels, height, width]` with values from -1 to 1, `columns` in a row. One channel is grey; of
/// more than three, the first three are shown.
pub fn write_grid(path: &Path, samples: &HostTensor, columns: usize) -> Result<(), RunError> {
    let [count, channels, height, width] = samples.shape.as_slice() else {
        let shape = &samples.shape;
        let reason =
            format!("a picture is made of images [count, channels, height, width]; these samples are {shape:?}");
        return Err(RunError::file(path, reason));
    };
    let (count, channels, height, width) = (*count, *channels, *height, *width);
    let columns = columns.clamp(1, count.max(1));
    let rows = count.div_ceil(columns);
    let zoom = LEAST_SIDE.div_ceil(height.max(width).max(1));
    let shown = if channels < 3 { 1 } else { 3 };
    // One sample is a picture by itself.
    let gap = if count > 1 { GAP } else { 0 };
    let (step_x, step_y) = (width * zoom + gap, height * zoom + gap);
    let (full_width, full_height) = (columns * step_x + gap, rows * step_y + gap);
    let mut pixels = vec![128_u8; full_width * full_height * shown];
    let data = samples.to_f32();
    for (at, sample) in data.chunks(channels * height * width).enumerate() {
        let (left, top) = (gap + at % columns * step_x, gap + at / columns * step_y);
        for y in 0..height * zoom {
            for x in 0..width * zoom {
                for channel in 0..shown {
                    let from = (channel * height + y / zoom) * width + x / zoom;
                    let to = ((top + y) * full_width + left + x) * shown + channel;
                    if let (Some(value), Some(pixel)) = (sample.get(from), pixels.get_mut(to)) {
                        *pixel = ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
                    }
                }
            }
        }
    }
    let color = if shown == 1 { ColorType::L8 } else { ColorType::Rgb8 };
    crate::tensors::write_whole(path, |file| {
        let encoder = image::codecs::png::PngEncoder::new(file);
        let (width, height) = (full_width as u32, full_height as u32);
        encoder.write_image(&pixels, width, height, color.into()).map_err(std::io::Error::other)
    })
}
