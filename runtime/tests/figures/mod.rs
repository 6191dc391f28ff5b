//! Largest relative errors of outputs and gradients of the small networks, as `tests/reference/figures.tsv` keeps them:
//! id, outputs with intermediate values, gradients. The README shows them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// How far an error may be from the one that is on record: another processor adds in another order.
const DRIFT: f64 = 10.0;

static MEASURED: Mutex<BTreeMap<String, [f64; 2]>> = Mutex::new(BTreeMap::new());

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/figures.tsv")
}

/// The figures on record.
fn recorded() -> BTreeMap<String, [f64; 2]> {
    let row = |line: &str| {
        let mut fields = line.split('\t');
        let id = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse().ok();
        Some((id, [number()?, number()?]))
    };
    std::fs::read_to_string(file()).unwrap_or_default().lines().filter_map(row).collect()
}

/// Takes down the figures of a network, and compares them with those on record.
pub fn check(id: &str, found: [f64; 2]) {
    MEASURED.lock().expect("no test panics while it writes").insert(id.to_owned(), found);
    if std::env::var_os("UPDATE_PAGES").is_some() {
        return;
    }
    let recorded = recorded();
    let on_record = recorded.get(id).copied().unwrap_or([0.0; 2]);
    let is_near = |(found, known): (f64, f64)| found < known * DRIFT && found * DRIFT > known;
    assert!(
        found.into_iter().zip(on_record).all(is_near),
        "{id}: errors {found:?}, {on_record:?} on record; refresh with `UPDATE_PAGES=1` before this command, then \
         the README with `UPDATE_PAGES=1 cargo test -p archc-tests --test pages`"
    );
}

/// Records what has been measured, rounded up to one digit. Rows that still hold stay as they are.
pub fn write() {
    let mut rows = recorded();
    for (id, found) in MEASURED.lock().expect("no test panics while it writes").iter() {
        let holds = rows.get(id).is_some_and(|known| {
            known.iter().zip(found).all(|(known, found)| *found <= known * 2.0 && *found * 4.0 >= *known)
        });
        if !holds {
            rows.insert(id.clone(), found.map(rounded_up));
        }
    }
    let line = |(id, [outputs, gradients]): (&String, &[f64; 2])| format!("{id}\t{outputs:e}\t{gradients:e}\n");
    let text: String = rows.iter().map(line).collect();
    std::fs::write(file(), text).expect("the record can be written");
}

fn rounded_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    format!("{:.0e}", (value / unit).ceil() * unit).parse().unwrap_or(value)
}
