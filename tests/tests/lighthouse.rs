//! Lighthouse's view of the dashboard, by the script that people use. How fast it is, is no test: see `tests/lighthouse.sh`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tiergate_tests::{Gateway, eventually};

/// Bytes over the wire of the first view with data, compressed.
const BYTES_MAX: f64 = 60_000.0;

/// Of 100.
const SCORE_MIN: f64 = 95.0;

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_accessible_well_made_and_small() {
    let gateway = Gateway::with().demo().start().await;
    eventually("there are data", async || (gateway.mobile_data().await["status"] == "success").then_some(())).await;
    let (_, port) = gateway.data.split_once(':').expect("a port");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lighthouse.sh");
    let mut command = Command::new(script);
    command.arg(format!("http://localhost:{port}/mobile"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("it runs");
    let (told, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{complaints}");
    let figures: BTreeMap<&str, f64> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, figure)| (name, figure.parse().unwrap_or_else(|_| panic!("{name}: {figure}"))))
        .collect();
    for score in ["accessibility", "best-practices"] {
        assert!(figures[score] >= SCORE_MIN, "{told}{complaints}");
    }
    assert!(figures["bytes"] > 5_000.0 && figures["bytes"] <= BYTES_MAX, "{told}{complaints}");
}
