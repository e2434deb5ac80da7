//! Plugins that do harm, from `tests/hostile/`.
//!
//! Each is written by hand, so that it can do what a compiler would not let it. A file replaces calls of the harmless plugin
//! of its world: after a line `;; WORLD: CALL` comes the body of that call in `WORLD.wat`, `module` for what stands beside the
//! calls.

use std::path::PathBuf;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../wit/tiergate.wit");

/// The worlds of the contract, by the names of their templates.
const WORLDS: [&str; 3] = ["codec", "aggregator", "warmer"];

/// The documents that views are composed from. An aggregator that names others is not taken in the place of the built-in one.
const INPUTS: [&str; 9] = [
    "analysis:signals",
    "market:overview",
    "market:movers",
    "market:breadth",
    "market:tickers",
    "analysis:market_regime",
    "market:btc_dominance",
    "coingecko:derivatives",
    "confluence:breakdown:*",
];

/// The component of `tests/hostile/NAME.wat`; of a world's own name, the harmless one.
pub fn hostile(name: &str) -> Vec<u8> {
    let text = read(name);
    let Some(world) = WORLDS.into_iter().find(|world| *world == name || text.starts_with(&format!(";; {world}: ")))
    else {
        panic!("{name}.wat names no world");
    };
    let start = format!(";; {world}: ");
    let calls: Vec<(&str, &str)> = match *world == *name {
        true => Vec::new(),
        false => text.split(&start).skip(1).map(|call| call.split_once('\n').expect("a body")).collect(),
    };
    let module = read(world).replace("{{common}}", &read("common")).replace("{{inputs}}", &inputs());
    let module = fill(&module, &calls);
    component(world, &module).unwrap_or_else(|error| panic!("{name}.wat: {error}"))
}

/// Puts the bodies of `calls` into their places, and the harmless ones into the others.
fn fill(template: &str, calls: &[(&str, &str)]) -> String {
    let mut parts = template.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    let mut used = 0;
    for part in parts {
        let (place, rest) = part.split_once("}}").expect("a place ends");
        let (call, harmless) = place.split_once('|').expect("a place has a harmless body");
        let body = calls.iter().find(|(name, _)| *name == call).map(|(_, body)| *body);
        used += usize::from(body.is_some());
        filled.push_str(body.unwrap_or(harmless));
        filled.push_str(rest);
    }
    assert_eq!(used, calls.len(), "every one of {calls:?} has its place");
    filled
}

/// A component of `world` from a core module as text.
fn component(world: &str, module: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut module = wat::parse_str(module)?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("tiergate.wit", WIT)?;
    let world = resolve.select_world(&[package], Some(&format!("{world}-plugin")))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(ComponentEncoder::default().validate(true).module(&module)?.encode()?)
}

/// [`INPUTS`] in the memory of a plugin: the answer at 840, the list at 5120, its texts from 4096 on.
fn inputs() -> String {
    let escaped =
        |number: usize| number.to_le_bytes()[..4].iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let (mut texts, mut list, mut at) = (String::new(), String::new(), 4096);
    for input in INPUTS {
        texts.push_str(input);
        list.push_str(&escaped(at));
        list.push_str(&escaped(input.len()));
        at += input.len();
    }
    let answer = escaped(5120) + &escaped(INPUTS.len());
    format!(r#"(data (i32.const 4096) "{texts}") (data (i32.const 5120) "{list}") (data (i32.const 840) "{answer}")"#)
}

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("hostile").join(format!("{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A valid component with `functions` functions of `bytes` bytes of code each. What takes long to compile is large; one
/// function takes much memory.
pub fn laborious(functions: usize, bytes: usize) -> Vec<u8> {
    // Adds its argument to itself: `local.get 0`, `local.get 0`, `i32.add`, `local.set 0`.
    let step = [0x20, 0, 0x20, 0, 0x6a, 0x21, 0];
    let mut body = vec![0];
    for _ in 0..bytes / step.len() {
        body.extend_from_slice(&step);
    }
    // `local.get 0`, `end`.
    body.extend_from_slice(&[0x20, 0, 0x0b]);
    let mut code = leb128(functions);
    for _ in 0..functions {
        code.extend(leb128(body.len()));
        code.extend_from_slice(&body);
    }
    let mut of_type_0 = leb128(functions);
    of_type_0.resize(of_type_0.len() + functions, 0);

    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type, of i32 to i32.
    section(&mut module, 1, &[1, 0x60, 1, 0x7f, 1, 0x7f]);
    section(&mut module, 3, &of_type_0);
    section(&mut module, 10, &code);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, &module);
    component
}

/// Adds a section to a binary.
fn section(binary: &mut Vec<u8>, id: u8, content: &[u8]) {
    binary.push(id);
    binary.extend(leb128(content.len()));
    binary.extend_from_slice(content);
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = number >> 7 != 0;
        bytes.push((number & 0x7f) as u8 | if more { 0x80 } else { 0 });
        if !more {
            return bytes;
        }
        number >>= 7;
    }
}
