//! Every suite under `tests/suites`.

use archc_tests::{corpus, run};

#[test]
fn suites_report_what_they_expect() {
    let cases = corpus::suites();
    assert!(!cases.is_empty(), "there are no suites");
    let mut report = String::new();
    for case in &cases {
        let failures = run::failures(case);
        if !failures.is_empty() {
            report.push_str(&run::report(case, &failures));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}
