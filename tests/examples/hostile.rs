//! Writes a plugin of `tests/hostile` to standard output: `cargo run --example hostile -- endless-loop > endless-loop.wasm`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    let no_name = || io::Error::other("name a plugin of tests/hostile, such as `endless-loop`");
    io::stdout().write_all(&tiergate_tests::hostile(&std::env::args().nth(1).ok_or_else(no_name)?))
}
