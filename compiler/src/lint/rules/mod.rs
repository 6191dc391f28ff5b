//! The rules, one file each.

use super::{RuleInfo, for_each_rule, info};

/// Declares a rule: its documentation, id and level become constants.
macro_rules! rule {
    (
        $(#[doc = $doc:literal])*
        $id:literal, $level:ident
        $vis:vis struct $Name:ident { $($(#[doc = $fdoc:literal])* $field:ident : $ty:ty),* $(,)? }
        check($context:ident) $check:block
        report($this:ident, $in:ident) $report:block
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        $vis struct $Name { $($(#[doc = $fdoc])* $field: $ty),* }

        impl $crate::lint::Rule for $Name {
            const ID: &'static str = $id;
            const LEVEL: archc_grammar::Level = archc_grammar::Level::$level;
            const DOC: &'static str = concat!($($doc, "\n"),*);

            fn check($context: &$crate::lint::Context<'_>) -> Vec<($crate::ir::NodeId, Self)> $check

            fn report(&self, $in: &$crate::lint::Context<'_>) -> $crate::lint::Report {
                let $this = self;
                $report
            }
        }
    };
}
macro_rules! declare {
    ($($module:ident => $Rule:ident),* $(,)?) => {
        $(mod $module;)*
        pub(super) const TABLE: &[RuleInfo] = &[$(info::<$module::$Rule>()),*];
    };
}
for_each_rule!(declare);
