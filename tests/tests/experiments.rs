//! The experiments of `tests/evidence` can be made; `evidence` makes them.

use archc_tests::experiment::{Outcome, Variant, all, plot, report, run};

/// The rule of a case finds fault with the flagged network, and not with the fixed one.
#[test]
fn rules_tell_the_variants_apart() {
    for case in all().expect("the cases can be read") {
        let finds = |variant| {
            let compiled = case.compiled(variant).expect("it compiles");
            compiled.diagnostics.iter().any(|problem| problem.id == case.rule)
        };
        assert!(finds(Variant::Flagged), "{}: the flagged network is not flagged", case.rule);
        assert!(!finds(Variant::Fixed), "{}: the fixed network is flagged", case.rule);
        case.graph(Variant::Fixed).expect("the repair is a network");
    }
}

/// What a rule says never moves does not, and with the repair it does.
#[test]
fn a_dead_product_is_dead_in_training() {
    let mut case = all()
        .expect("the cases can be read")
        .into_iter()
        .find(|case| case.rule == "init/dead-product")
        .expect("a case");
    case.steps = 4;
    let trials = run(&case, 1).expect("it trains");
    let outcome = Outcome::of(&case, &trials).expect("it is measured");
    assert!(outcome.is_confirmed(), "{:?}", outcome.metric);
    assert!(report(&[outcome], 1).contains("1 of 1 predictions are confirmed"));
    assert!(plot(&[(&case, &trials)]).expect("it can be drawn").contains("init/dead-product"));
}
