//! Levels of a U-Net, which diffusers describes by names of blocks.

use super::config::{Config, list};
use super::preset::Preset;

/// The two kinds of blocks that a level may be made of, on one way.
pub(super) struct Blocks {
    pub key: &'static str,
    pub plain: &'static str,
    pub attending: &'static str,
}

/// Which levels attend, from the finest to the coarsest; the way up has to mirror the way down.
pub(super) fn attending(config: &mut Config<'_>, levels: usize, down: &Blocks, up: &Blocks) -> Option<Vec<bool>> {
    let down_attends = kinds(config, down, levels);
    let up_attends = kinds(config, up, levels);
    let (down_attends, mut up_attends) = (down_attends?, up_attends?);
    up_attends.reverse();
    if down_attends != up_attends {
        let message = format!("`{}` is not the mirror image of `{}`", up.key, down.key);
        let help = "a level attends on the way down and on the way up, or on neither".to_owned();
        config.unsupported(message, &[down.key, up.key], help);
    }
    Some(down_attends)
}

/// Groups of a norm that do not divide the channels of a level.
pub(super) fn groups_divide(config: &mut Config<'_>, widths: &[u64]) {
    let Some(groups) = config.size("norm_num_groups") else { return };
    if let Some(width) = widths.iter().find(|width| *width % groups != 0) {
        let message = format!("{groups} groups do not divide a level of {width} channels");
        config.contradiction(message, &["norm_num_groups", "block_out_channels"], None);
    }
}

/// Which entries of a list of blocks attend. Reports a wrong length, and all blocks that are of neither kind.
pub(super) fn kinds(config: &mut Config<'_>, blocks: &Blocks, levels: usize) -> Option<Vec<bool>> {
    let names = config.words(blocks.key)?;
    config.has_length(blocks.key, names.len(), levels);
    let mut strangers: Vec<&String> =
        names.iter().filter(|name| *name != blocks.plain && *name != blocks.attending).collect();
    strangers.dedup();
    for name in &strangers {
        let message = format!("`{}` has a `{name}`", blocks.key);
        let help = if blocks.plain == blocks.attending {
            format!("the family is made of `{}`", blocks.plain)
        } else {
            format!("the family is made of `{}` and `{}`", blocks.plain, blocks.attending)
        };
        config.unsupported(message, &[blocks.key], help);
    }
    let is_sound = strangers.is_empty() && names.len() == levels;
    is_sound.then(|| names.iter().map(|name| name == blocks.attending).collect())
}

/// How many transformers stand at each level: none where it does not attend, and in the middle as many as the last entry
/// says, whether the last level attends or not.
pub(super) fn transformers(config: &mut Config<'_>, preset: &mut Preset, attention: &[bool]) {
    let Some(depth) = config.per_level("transformer_layers_per_block", attention.len()) else { return };
    preset.set("mid_depth", depth.last().copied().unwrap_or(1));
    let own: Vec<u64> = depth.iter().zip(attention).map(|(depth, attends)| if *attends { *depth } else { 0 }).collect();
    preset.set("depth", list(&own));
}

/// The size that a network is trained on, as the typical size of its input: one number, height and width, or nothing.
pub(super) fn sample_size(config: &mut Config<'_>, preset: &mut Preset, levels: usize) {
    let sizes = match (config.size(SAMPLE), config.sizes(SAMPLE)) {
        (Some(side), _) => [side, side],
        (None, Some(sides)) => match sides.as_slice() {
            [height, width] => [*height, *width],
            _ => {
                let help = "one number, or height and width".to_owned();
                config.contradiction(format!("`{SAMPLE}` has {} entries", sides.len()), &[SAMPLE], help);
                return;
            }
        },
        (None, None) => return,
    };
    let factor = 1_u64.checked_shl(levels.saturating_sub(1) as u32).unwrap_or(u64::MAX);
    if let Some(side) = sizes.iter().find(|side| *side % factor != 0) {
        let message = format!("a side of {side} cannot be halved once for each level below the first");
        config.contradiction(message, &[SAMPLE, "block_out_channels"], None);
        return;
    }
    for (name, side) in ["H", "W"].iter().zip(sizes) {
        preset.set(name, side);
    }
}

const SAMPLE: &str = "sample_size";
