//! Levels of a U-Net, which diffusers describes by names of blocks.

use super::config::{Config, list};
use super::preset::Preset;

/// The two kinds of blocks that a level may be made of, on one way.
pub(super) struct Blocks {
    pub key: &'static str,
    pub plain: &'static str,
    pub attending: &'static str,
}

/// Which levels attend on either way, from the finest to the coarsest.
pub(super) struct Attention {
    pub down: Vec<bool>,
    pub up: Vec<bool>,
}

impl Attention {
    /// The levels that attend on one of the ways; the last one if the `middle`, which is as wide, does.
    pub fn either(&self, middle: bool) -> Vec<bool> {
        let last = self.down.len().saturating_sub(1);
        let ways = self.down.iter().zip(&self.up).enumerate();
        ways.map(|(at, (down, up))| *down || *up || middle && at == last).collect()
    }
}

pub(super) fn attending(config: &mut Config<'_>, levels: usize, down: &Blocks, up: &Blocks) -> Option<Attention> {
    let down = kinds(config, down, levels);
    let mut up = kinds(config, up, levels)?;
    up.reverse();
    Some(Attention { down: down?, up })
}

/// How many residual blocks stand at each level.
pub(super) fn layers(config: &mut Config<'_>, preset: &mut Preset, levels: usize) -> Option<Vec<u64>> {
    let layers = config.per_level("layers_per_block", levels)?;
    match layers.first() {
        Some(first) if layers.iter().all(|own| own == first) => preset.set("layers", first),
        _ => preset.set("level_layers", list(&layers)),
    }
    Some(layers)
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

const DEPTHS: &str = "transformer_layers_per_block";
const UP_DEPTHS: &str = "reverse_transformer_layers_per_block";

/// How many transformers stand behind each residual block: none where a level does not attend, and in the middle as many
/// as the last entry says, whether the last level attends or not.
pub(super) fn transformers(config: &mut Config<'_>, preset: &mut Preset, attention: &Attention, layers: &[u64]) {
    let levels = layers.len();
    let Some(given) = config.depths(DEPTHS, levels) else { return };
    preset.set("mid_depth", given.last().and_then(Depth::first).unwrap_or(1));
    let mut back = given.clone();
    if let Some(up) = config.depths(UP_DEPTHS, levels) {
        back = up.into_iter().rev().collect();
    } else if given.iter().any(|own| matches!(own, Depth::Each(_))) {
        let message = format!("`{DEPTHS}` counts block by block, and the way up has one block more at each level");
        config.contradiction(message, &[DEPTHS, UP_DEPTHS], format!("diffusers asks for `{UP_DEPTHS}` as well"));
        return;
    }
    let decoder: Vec<u64> = layers.iter().map(|count| count.saturating_add(1)).collect();
    let down = expanded(config, DEPTHS, &given, &attention.down, layers);
    let up = expanded(config, UP_DEPTHS, &back, &attention.up, &decoder);
    match (uniform(&down), uniform(&up)) {
        (Some(down), Some(up)) => {
            preset.set("depth", list(&down));
            preset.set_unless("up_depth", list(&up), list(&down));
        }
        _ => {
            preset.set("depths", nested(&down));
            preset.set("up_depths", nested(&up));
        }
    }
}

/// A level's transformers: as many behind each residual block, or a number for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    All(u64),
    Each(Vec<u64>),
}

impl Depth {
    fn first(&self) -> Option<u64> {
        match self {
            Depth::All(depth) => Some(*depth),
            Depth::Each(depths) => depths.first().copied(),
        }
    }
}

/// Numbers for each residual block of each level. Reports lists that are not as long as there are blocks.
fn expanded(
    config: &mut Config<'_>,
    key: &'static str,
    depths: &[Depth],
    attends: &[bool],
    layers: &[u64],
) -> Vec<Vec<u64>> {
    let mut levels = vec![];
    for ((depth, attends), count) in depths.iter().zip(attends).zip(layers) {
        let blocks = usize::try_from(*count).unwrap_or(usize::MAX).min(MAX_BLOCKS);
        levels.push(match depth {
            _ if !attends => vec![0; blocks],
            Depth::All(depth) => vec![*depth; blocks],
            Depth::Each(depths) => {
                if depths.len() != blocks {
                    let message = format!("{} numbers of transformers for {count} residual blocks", depths.len());
                    config.contradiction(message, &[key, "layers_per_block"], None);
                }
                depths.clone()
            }
        });
    }
    levels
}

/// More residual blocks than any level has; a larger number is reported when the spec is compiled.
const MAX_BLOCKS: usize = 1000;

/// One number for each level, if the blocks of none differ.
fn uniform(levels: &[Vec<u64>]) -> Option<Vec<u64>> {
    let one = |blocks: &Vec<u64>| {
        let first = blocks.first().copied()?;
        blocks.iter().all(|own| *own == first).then_some(first)
    };
    levels.iter().map(one).collect()
}

fn nested(levels: &[Vec<u64>]) -> String {
    list(&levels.iter().map(|blocks| list(blocks)).collect::<Vec<_>>())
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
