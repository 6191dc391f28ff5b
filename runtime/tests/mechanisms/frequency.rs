//! Filters in the frequency domain, against discrete Fourier transforms.

use crate::common::{check, floats, normal, run};

/// A filter as it is defined: a discrete Fourier transform, a mask, and back; the real part.
fn masked_spectrum(x: &[f64], height: usize, width: usize, mask: impl Fn(i64, i64) -> f64) -> Vec<f64> {
    let frequencies = |size: usize| {
        let size = size as i64;
        -(size / 2)..(size + 1) / 2
    };
    let turn = |f: i64, at: usize, size: usize| 2.0 * std::f64::consts::PI * f as f64 * at as f64 / size as f64;
    let mut result = vec![0.0; height * width];
    for (u, v) in frequencies(height).flat_map(|u| frequencies(width).map(move |v| (u, v))) {
        let angle = |at: usize| turn(u, at / width, height) + turn(v, at % width, width);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (at, x) in x.iter().enumerate() {
            real += x * angle(at).cos();
            imaginary -= x * angle(at).sin();
        }
        let factor = mask(u, v) / (height * width) as f64;
        for (at, y) in result.iter_mut().enumerate() {
            *y += factor * (real * angle(at).cos() - imaginary * angle(at).sin());
        }
    }
    result
}

#[test]
fn frequencies_are_multiplied_one_by_one() {
    for [batch, channels, height, width] in [[1, 1, 1, 1], [2, 1, 3, 5], [1, 2, 4, 4], [1, 3, 7, 2], [2, 2, 8, 6]] {
        let x = normal("x", &[batch, channels, height, width]);
        for (radius, low, high, band) in
            [(1, 0.9, 1.0, "closed"), (1, 0.6, 1.2, "half_open"), (2, 1.0, 0.0, "closed"), (2, 0.0, 1.0, "half_open")]
        {
            let is_low = |f: i64| if band == "closed" { f.abs() <= radius } else { (-radius..radius).contains(&f) };
            let mask = |u, v| if is_low(u) && is_low(v) { low } else { high };
            let maps = floats(&x);
            let expected: Vec<f64> =
                maps.chunks(height * width).flat_map(|map| masked_spectrum(map, height, width, mask)).collect();
            let source = format!(
                "model A(x: image[{channels}, H, W]) {{
                    x -> fourier(radius: {radius}, low: {low}, high: {high}, band: {band})
                }}"
            );
            let found = run(&source, vec![x.clone()], &[]);
            check(band, &found, &[batch, channels, height, width], &expected);
        }
    }
}
