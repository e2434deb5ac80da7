//! The binary itself. Cargo builds it for this test, and the end-to-end crate finds it beside its own tests.

use std::process::Command;

#[test]
fn the_binary_tells_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_tiergate")).arg("--version").output().expect("it runs");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("tiergate {}\n", env!("CARGO_PKG_VERSION")));
}
