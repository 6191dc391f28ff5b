//! The middle of a grid of tokens.

use super::slice::part_of;
use super::to_image::{grid, tokens_operand};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Type};
use smallvec::smallvec;

operator! {
    /// The middle of a square grid of tokens: `tokens[S*S, C] -> tokens[height*width, C]`, row by row.
    ///
    /// `(S - height) / 2` rows above and `(S - width) / 2` columns to the left are left out, rounded down. Position
    /// tables of SD3 are made for the largest image and cropped (Esser et al. 2024, appendix; `cropped_pos_embed` in
    /// Stability-AI/sd3-ref).
    "crop_grid"(x)
    pub struct CropGrid {
        /// Rows that are kept.
        height: Dim,
        /// Columns that are kept.
        width: Dim,
    }
}

impl Operator for CropGrid {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        let (x, count, _) = tokens_operand(operands, "crop_grid")?;
        let (side, _) = grid(count, None, None, "crop_grid")?;
        for (name, kept) in [("rows", &self.height), ("columns", &self.width)] {
            match side.minus(kept) {
                Ok(Dim::Known(_)) => {}
                // What is left out is not below zero; for open sizes, when the model runs.
                Ok(open) => obligations.0.push(open),
                Err(_) => {
                    let message = format!("a grid of {side} x {side} has no {kept} {name} to keep");
                    return Err(Misuse::new("shape/range", message).at(0));
                }
            }
        }
        let kept = self.height.times(&self.width).map_err(|_| Misuse::new("shape/size", "too many tokens").at(0))?;
        Ok(x.clone().with(Axis::Token, kept))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        // Positions in the middle of a table are more alike than those of all of it.
        let (Some(table), Some(height), Some(width)) =
            (at.table, self.height.at(at.sizes), self.width.at(at.sizes)) else {
            return Ok(Response::fresh(x));
        };
        let part = table.statistics_of(Some((height, width)));
        let mut moments = x.map(part.mean, |_| part.shared).similar(part.similarity);
        if let Some(own) = moments.second.first_mut() {
            *own = x.square();
        }
        Ok(Response::fresh(moments))
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let share = at.axes_of(at.result).iter().product::<f64>() / at.positions(0).max(1.0);
        Ok(smallvec![gradient.mixed(share.min(1.0), &Moments::ZERO)])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Cut
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        Grid::build(at.rows, at.columns, |_, column| part_of(at.operand(0).column(column)))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        // The rest of the grid receives nothing, so the gradient varies.
        Gradients::of_operands([at.operand(0).map(|_, column, _| {
            let facts = gradient.column(column);
            facts.with(Facts::POSITIONS, facts.nonzero())
        })])
    }
}
