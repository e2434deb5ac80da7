//! `INCIDENTS.md`: which test keeps each incident from coming back. It is made from the tests, and this fails when it is not as
//! they are. `UPDATE=1 cargo test --workspace --test incidents_page` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How many there are.
const INCIDENTS: u32 = 65;

/// Incidents that cannot exist here, and why no test could fail for them.
const IMPOSSIBLE: [(u32, &str); 1] = [(
    63,
    "Nothing runs when a module is imported here: constants aside, all work begins in `main`. Crates that name each other in a \
     circle do not compile, and every run of the tests compiles them.",
)];

const HEAD: &str = "# The incidents, and what keeps each from coming back\n\n\
    Made from the names of the tests by `tests/tests/incidents_page.rs`, which fails when this page is not as they are. What \
    happened, and the rule that follows, is told in [`CONTRACT.md`](CONTRACT.md), section 6.\n\n\
    | incident | what happened | shown by |\n| --- | --- | --- |\n";

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file below `dir`.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder of the workspace") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The incidents that a test names: `b02_b16_...` names two.
fn named(test: &str) -> Vec<u32> {
    let number = |word: &str| word.strip_prefix('b').filter(|digits| digits.len() == 2)?.parse().ok();
    test.split('_').map_while(number).collect()
}

/// The tests of `source` that name incidents: functions with an attribute that makes them tests, and none that leaves them
/// out of a run.
fn tests(source: &str) -> Vec<&str> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let name =
        |line: &'_ &str| -> Option<usize> { line.find("fn b").filter(|at| *at == 0 || line.starts_with("async fn")) };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(begin) = name(line) else { continue };
        let test = line[begin + 3..].split('(').next().unwrap_or_default();
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("///"));
        let has = |name: &str| attributes.clone().any(|line| line.starts_with(name));
        let is_run = (has("#[test]") || has("#[tokio::test")) && !has("#[ignore");
        if is_run && !named(test).is_empty() {
            found.push(test);
        }
    }
    found
}

/// What happened, by incident, as the contract tells it.
fn stories() -> BTreeMap<u32, String> {
    let contract = std::fs::read_to_string(root().join("tests/CONTRACT.md")).expect("the contract");
    let story = |line: &str| {
        let mut cells = line.strip_prefix("| B")?.split(" | ");
        Some((cells.next()?.trim().parse().ok()?, cells.next()?.trim().to_owned()))
    };
    contract.lines().filter_map(story).collect()
}

fn page() -> String {
    let mut files = Vec::new();
    ["host/src", "plugins", "tests/tests", "tests/harness"]
        .iter()
        .for_each(|dir| sources(&root().join(dir), &mut files));
    files.sort();
    let mut shown: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source");
        let place = file.strip_prefix(root()).expect("within the workspace").display().to_string();
        for test in tests(&source) {
            for incident in named(test) {
                shown.entry(incident).or_default().push(format!("[`{test}`](../{place})"));
            }
        }
    }
    let stories = stories();
    let mut page = HEAD.to_owned();
    for incident in 1..=INCIDENTS {
        let why = IMPOSSIBLE.iter().find(|(number, _)| *number == incident).map(|(_, why)| *why);
        let by = match (shown.get(&incident), why) {
            (Some(tests), None) => tests.join("<br>"),
            (None, Some(why)) => format!("cannot exist here: {why}"),
            (None, None) => panic!("no test shows that B{incident} cannot come back"),
            (Some(tests), Some(_)) => panic!("B{incident} is said to be impossible, and is tested by {tests:?}"),
        };
        let story = stories.get(&incident).unwrap_or_else(|| panic!("the contract does not tell of B{incident}"));
        writeln!(page, "| B{incident} | {story} | {by} |").expect("a String takes all");
    }
    page
}

#[test]
fn every_incident_has_a_test_or_a_reason_and_the_page_says_so() {
    let (page, file) = (page(), root().join("tests/INCIDENTS.md"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).expect("the page is written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "tests/INCIDENTS.md is not what the tests say; `UPDATE=1 cargo test --locked --workspace --test incidents_page` writes it"
    );
}

#[test]
fn a_function_that_is_no_test_shows_nothing() {
    let source = "fn b01_helper() {}\n#[test]\nfn b02_b03_two() {}\n    /// Said.\n    #[tokio::test(start_paused = true)]\n    async fn \
                  b04_three() {}\n#[test]\nfn before() {}\n#[test]\n#[ignore = \"by hand\"]\nfn b05_left_out() {}\n#[ignore]\n\
                  #[tokio::test]\nasync fn b06_too() {}\n";
    assert_eq!(tests(source), ["b02_b03_two", "b04_three"]);
    assert_eq!(named("b02_b03_two"), [2, 3]);
}
