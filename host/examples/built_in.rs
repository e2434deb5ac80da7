//! Writes a built-in plugin to standard output: `cargo run --example built_in -- aggregator > aggregator.wasm`.

use std::io::Write as _;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).context("name a built-in plugin, such as `aggregator`")?;
    let component =
        tiergate::plugin::built_in(&name).with_context(|| format!("there is no built-in plugin `{name}`"))?;
    std::io::stdout().write_all(component)?;
    Ok(())
}
