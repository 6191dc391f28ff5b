//! The commands of the README, as they stand there.

use super::{CLEAN, FINDINGS, Folder, project, run};

/// `archc` commands with the exit codes that the README says they have, in order.
fn commands() -> Vec<(Vec<String>, i32)> {
    let text = std::fs::read_to_string(project().join("README.md")).expect("the README");
    let blocks = text.split("```console\n").skip(1).filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.strip_prefix("$ ").expect("a command"));
    let mut found = vec![];
    for line in lines {
        let (command, remark) = line.split_once(" # ").unwrap_or((line, ""));
        let code = if remark == "exits with 1" { FINDINGS } else { CLEAN };
        let command = command.replace("cargo run --release -- ", "archc ");
        if let Some(arguments) = command.strip_prefix("archc ") {
            found.push((arguments.split(' ').map(str::to_owned).collect(), code));
        }
    }
    found
}

#[test]
fn every_command_works() {
    let found = commands();
    assert!(found.len() > 8, "{found:?}");
    // Where specs are, and what is written goes with the folder.
    let folder = Folder::with(&[]);
    copy(&project().join("specs"), &folder.path("specs"));
    for (arguments, code) in found {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(folder.folder.path(), &arguments).expect(code);
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn the_report_it_shows_is_the_one_that_is_made() {
    let text = std::fs::read_to_string(project().join("README.md")).expect("the README");
    let report = run(&project(), &["check", "specs/examples/dead_branch.arch"]).expect(FINDINGS).out;
    let shown = text.split("```text\n").find(|block| block.contains("init/dead-product")).expect("a report");
    let shown = shown.split("```").next().unwrap_or_default().trim_end();
    assert!(report.contains(shown), "the README shows\n{shown}\nand the program says\n{report}");
}
