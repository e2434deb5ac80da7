//! `tiergate cache explain KEY`: the gateway's answer as a text for a person.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::Ended;
use super::admin::{self, Admin};

pub(super) async fn run(admin: Admin, key: &str, json: bool) -> anyhow::Result<Ended> {
    let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
    let answer = admin.send(Method::GET, &format!("/api/admin/explain/{key}"), Bytes::new()).await?;
    match admin::body(&answer)? {
        Err(ended) => Ok(ended),
        Ok(explained) if json => admin::print(&explained),
        Ok(explained) => {
            print!("{}", text(&explained));
            Ok(Ended::Done)
        }
    }
}

/// The text.
fn text(explained: &Value) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write(&mut out, explained).expect("a String takes every write");
    out
}

fn write(out: &mut String, explained: &Value) -> std::fmt::Result {
    let serves = &explained["serves"];
    writeln!(out, "{}", word(&explained["key"]))?;
    write!(out, "  a reader gets: {}", word(&serves["outcome"]))?;
    if let Some(why) = serves["stale_why"].as_str() {
        write!(out, ", {why},")?;
    }
    if let Some(tier) = serves["tier"].as_str() {
        write!(out, " from {tier}")?;
    }
    writeln!(out, " ({})", word(&serves["why"]))?;
    for (tier, why) in serves["failed"].as_object().into_iter().flatten() {
        writeln!(out, "    {tier} did not answer: {}", word(why))?;
    }
    if let Some(floor) = explained["deleted_up_to"].as_u64() {
        writeln!(out, "  deleted: values up to version {floor} do not come back")?;
    }
    load(out, &explained["load"])?;
    writeln!(out, "  policy {}", word(&explained["policy"]["pattern"]))?;
    for place in list(&explained["tiers"]) {
        tier(out, place)?;
    }
    let writes = list(&explained["writes"]);
    writeln!(out, "  {}", if writes.is_empty() { "no write is remembered" } else { "last writes, the newest first:" })?;
    for write in writes {
        written(out, write)?;
    }
    for entry in list(&explained["quarantined"]) {
        let (id, tier, error) = (&entry["id"], word(&entry["tier"]), word(&entry["error"]["message"]));
        writeln!(out, "  quarantined {id} in {tier}: {} bytes; {error}", entry["bytes"])?;
    }
    Ok(())
}

/// The source of the key, and which gateway has the turn to load it.
fn load(out: &mut String, load: &Value) -> std::fmt::Result {
    if load.is_null() {
        return Ok(());
    }
    let lease = &load["lease"];
    let tier = word(&lease["tier"]);
    write!(out, "  loaded by source {}; lease: ", word(&load["source"]))?;
    match word(&lease["state"]) {
        "held" => {
            let own = if lease["own"] == true { " (this one)" } else { "" };
            write!(out, "held in {tier} by gateway {}{own}", word(&lease["gateway"]))?;
            if !lease["ttl_seconds"].is_null() {
                write!(out, " for another {}", span(&lease["ttl_seconds"]))?;
            }
            writeln!(out)
        }
        "free" => writeln!(out, "nobody holds it in {tier}"),
        "unknown" => writeln!(out, "{tier} did not tell: {}", word(&lease["why"])),
        _ => writeln!(out, "none, for no tier is a store that gateways share leases in"),
    }
}

fn tier(out: &mut String, place: &Value) -> std::fmt::Result {
    let value = &place["value"];
    write!(out, "  {:<12} ", word(&place["tier"]))?;
    if value.is_null() {
        write!(out, "{}", word(&place["holds"]).replace('_', " "))?;
        if let Some(why) = place["why"].as_str() {
            write!(out, ": {why}")?;
        }
    } else {
        write!(
            out,
            "{} {}, version {}, rank {}, {} old, {}, {} left, {} bytes, by {}",
            if value["fresh"] == true { "fresh" } else { "stale" },
            word(&value["kind"]),
            value["version"],
            value["rank"],
            span(&value["age_seconds"]),
            word(&value["schema"]),
            span(&value["ttl_seconds"]),
            place["stored_bytes"],
            word(&value["written_by"]),
        )?;
        let repairs = list(&value["repairs"]);
        if !repairs.is_empty() {
            write!(out, ", {} repairs (first: {})", repairs.len(), word(&repairs[0]["message"]))?;
        }
    }
    writeln!(out)?;
    for side in ["read", "write"] {
        let breaker = &place["breakers"][side];
        if breaker["state"].as_str().is_some_and(|state| state != "closed") {
            let (state, since, why) = (word(&breaker["state"]), span(&breaker["for_seconds"]), word(&breaker["why"]));
            writeln!(out, "{:15}{side} breaker {state} for {since}: {why}", "")?;
        }
    }
    let waits = &place["waits"];
    if !waits.is_null() {
        let what = match (waits["write"].is_null(), waits["delete_up_to"].is_null()) {
            (true, _) => "a delete waits".to_owned(),
            (false, true) => format!("version {} waits", waits["write"]["version"]),
            (false, false) => format!("a delete waits, and then version {}", waits["write"]["version"]),
        };
        let (since, tries, why) = (span(&waits["waiting_seconds"]), &waits["tries"], word(&waits["why"]));
        writeln!(out, "{:15}{what} for {since}, tried {tries} times: {why}", "")?;
    }
    Ok(())
}

fn written(out: &mut String, written: &Value) -> std::fmt::Result {
    let write = &written["write"];
    write!(out, "    {} ago by {}: ", span(&written["ago_seconds"]), word(&written["from"]))?;
    match word(&write["what"]) {
        "value" => write!(out, "{}, version {}, {} bytes", word(&write["kind"]), write["version"], write["bytes"])?,
        "refused" => write!(out, "refused, {} bytes: {}", write["bytes"], word(&write["error"]))?,
        what => write!(out, "{what} up to version {}", write["version"])?,
    }
    for (tier, told) in written["tiers"].as_object().into_iter().flatten() {
        write!(out, "; {tier} {}", word(&told["outcome"]))?;
        if let Some(reason) = told["reason"].as_str() {
            write!(out, " ({reason})")?;
        }
    }
    writeln!(out)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A span for people: tenths of a second are enough.
fn span(seconds: &Value) -> String {
    let tenths = (seconds.as_f64().unwrap_or_default().max(0.0) * 10.0).round();
    // A number out of range is as good as for ever.
    let millis = if tenths < 1e15 { tenths as u64 * 100 } else { u64::MAX / 2 };
    humantime::format_duration(std::time::Duration::from_millis(millis)).to_string()
}
