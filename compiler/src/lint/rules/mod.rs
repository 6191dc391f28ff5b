//! The rules, one file each.

use super::{RuleInfo, for_each_rule, info};

/// Declares a rule: its documentation, id and level become constants. A rule that can be repaired by an edit of the source
/// ends with `fixes(finding, context) { .. }`.
macro_rules! rule {
    (
        $(#[doc = $doc:literal])*
        $id:literal, $level:ident
        $vis:vis struct $Name:ident { $($(#[doc = $fdoc:literal])* $field:ident : $ty:ty),* $(,)? }
        check($context:ident) $check:block
        report($this:ident, $in:ident) $report:block
        $(fixes($broken:ident, $source:ident) $fixes:block)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        $vis struct $Name { $($(#[doc = $fdoc])* $field: $ty),* }

        impl $crate::lint::Rule for $Name {
            const ID: &'static str = $id;
            const LEVEL: archc_grammar::Level = archc_grammar::Level::$level;
            const DOC: &'static str = concat!($($doc, "\n"),*);
            const FIXABLE: bool = rule!(@fixable $($fixes)?);

            fn check($context: &$crate::lint::Context<'_>) -> Vec<($crate::ir::NodeId, Self)> $check

            fn report(&self, $in: &$crate::lint::Context<'_>) -> $crate::lint::Report {
                let $this = self;
                $report
            }

            rule!(@fixes $($broken, $source, $fixes)?);
        }
    };
    (@fixable) => { false };
    (@fixable $fixes:block) => { true };
    (@fixes) => {
        fn fixes(&self, _: &$crate::lint::Context<'_>) -> Vec<archc_grammar::Fix> {
            vec![]
        }
    };
    (@fixes $this:ident, $in:ident, $fixes:block) => {
        fn fixes(&self, $in: &$crate::lint::Context<'_>) -> Vec<archc_grammar::Fix> {
            let $this = self;
            $fixes
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
