//! `tiergate doctor`: asks one gateway or several what is wrong, whether each sees what the others write, and whether all serve
//! the same.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::ensure;
use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Ended;
use super::admin::{self, Admin};
use crate::cache::SETTLED_AFTER;
use crate::client::Client;
use crate::doctor::gateways::{self, Asked, Sees};
use crate::doctor::{self, Code, Finding, Place, Report, Severity};
use crate::record::{Order, Time, Version};

/// Gateways that are asked at once, each about every other.
const GATEWAYS_MAX: usize = 32;

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// The admin listener of a gateway; once for each, if there are several
    #[arg(
        long = "admin",
        value_name = "URL",
        env = "TIERGATE_ADMIN_URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8003"
    )]
    admins: Vec<String>,
    /// The file that holds the admin token: one for all, or one for each `--admin` in their order; by default that of the
    /// default data directory
    #[arg(long = "admin-token-file", value_name = "FILE", value_delimiter = ',')]
    token_files: Vec<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// What a gateway sees of another one's canary.
#[derive(Deserialize)]
struct Canaries {
    tiers: BTreeMap<String, Seen>,
}

#[derive(Deserialize)]
struct Seen {
    version: Option<Version>,
    error: Option<String>,
}

/// What a gateway serves of a sample.
#[derive(Deserialize)]
struct Served {
    values: BTreeMap<String, Order>,
}

pub(super) async fn run(args: DoctorArgs) -> anyhow::Result<Ended> {
    let (count, files) = (args.admins.len(), args.token_files.len());
    ensure!(count <= GATEWAYS_MAX, "{count} gateways are named; at most {GATEWAYS_MAX} can be asked at once");
    ensure!(
        files <= 1 || files == count,
        "{count} gateways and {files} token files are named; name one file, or one for each"
    );
    let mut clients = Vec::with_capacity(count);
    for (at, url) in args.admins.iter().enumerate() {
        let file = args.token_files.get(at).or(args.token_files.first()).cloned();
        clients.push((url.clone(), Admin::at(url.clone(), file).client()?));
    }
    let asking = join_all(clients.iter().map(|(url, client)| async move { (client, ask(url, client).await) }));
    // Both take their time: what differs is looked at twice.
    let (asked, mut findings) = tokio::join!(asking, values(&clients));
    let mut all = Vec::new();
    for (client, asked) in asked {
        match asked {
            Ok(asked) => all.push((client, asked)),
            Err(finding) => findings.push(finding),
        }
    }
    for (_, asked) in &all {
        findings.extend(gateways::located(asked, count > 1));
        findings.extend(gateways::clock(asked));
    }
    let answered: Vec<Asked> = all.iter().map(|(_, asked)| asked.clone()).collect();
    findings.extend(gateways::versions(&answered));
    findings.extend(gateways::not_asked(&answered));
    let pairs = all.iter().flat_map(|(_, writer)| all.iter().map(move |(client, reader)| (writer, *client, reader)));
    let others = pairs.filter(|(writer, _, reader)| writer.url != reader.url);
    findings.extend(
        join_all(others.map(|(writer, client, reader)| share(writer, client, reader))).await.into_iter().flatten(),
    );
    doctor::sort(&mut findings);
    tell(&findings, &answered, args.json)
}

/// Asks one gateway.
async fn ask(url: &str, client: &Client) -> Result<Asked, Finding> {
    let answer = client.send(Method::GET, "/api/admin/doctor", Bytes::new()).await;
    let answer = answer.map_err(|error| Code::GatewayUnreachable.at(Place::gateway(url), error.to_string()))?;
    let answered = Time::now();
    let refused = |why: String| Code::GatewayRefused.at(Place::gateway(url), why);
    if answer.status != StatusCode::OK {
        return Err(refused(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))));
    }
    let report: Report =
        serde_json::from_slice(&answer.body).map_err(|error| refused(format!("its answer: {error}")))?;
    Ok(Asked { url: url.to_owned(), report, answered })
}

/// Gateways that serve, and keep serving, lesser values than another one.
async fn values(clients: &[(String, Client)]) -> Vec<Finding> {
    if clients.len() < 2 {
        return Vec::new();
    }
    let seed = fastrand::u32(..);
    let (first, not_done) = served(clients, seed).await;
    let first = gateways::behind(&first);
    if first.is_empty() {
        return not_done;
    }
    sleep(SETTLED_AFTER).await;
    let (second, mut findings) = served(clients, seed).await;
    findings.extend(gateways::values(&first, &gateways::behind(&second)));
    findings
}

/// What each gateway serves of the sample of this seed, and which did not tell. That one does not answer at all is found
/// otherwise.
async fn served(clients: &[(String, Client)], seed: u32) -> (Vec<gateways::Serves>, Vec<Finding>) {
    let path = format!("/api/admin/doctor/served/{seed}");
    let path = path.as_str();
    let asking = clients.iter().map(|(_, client)| client.send(Method::GET, path, Bytes::new()));
    let (mut served, mut not_done) = (Vec::new(), Vec::new());
    for ((url, _), answer) in clients.iter().zip(join_all(asking).await) {
        let Ok(answer) = answer else { continue };
        let told = match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body).map_err(|error| error.to_string()),
            status => Err(format!("{status}: {}", String::from_utf8_lossy(&answer.body))),
        };
        match told {
            Ok(Served { values }) => served.push(gateways::Serves { url: url.clone(), values }),
            Err(why) => {
                let evidence = format!("whether it serves what the others do: {why}");
                not_done.push(Code::CheckNotDone.at(Place::gateway(url), evidence));
            }
        }
    }
    (served, not_done)
}

/// Whether `reader` sees what `writer` wrote to the tiers that others share.
async fn share(writer: &Asked, client: &Client, reader: &Asked) -> Vec<Finding> {
    let path = format!("/api/admin/doctor/canary/{}", writer.report.gateway);
    let not_done = |why: String| {
        let evidence = format!("whether it sees what {} wrote: {why}", writer.url);
        vec![Code::CheckNotDone.at(Place::gateway(&reader.url), evidence)]
    };
    let seen: Canaries = match client.send(Method::GET, &path, Bytes::new()).await {
        Err(error) => return not_done(error.to_string()),
        Ok(answer) if answer.status != StatusCode::OK => {
            return not_done(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        Ok(answer) => match serde_json::from_slice(&answer.body) {
            Ok(seen) => seen,
            Err(error) => return not_done(error.to_string()),
        },
    };
    let seen: BTreeMap<String, Sees> =
        seen.tiers.into_iter().map(|(tier, Seen { version, error })| (tier, error.map_or(Ok(version), Err))).collect();
    // What could not even be written there is a finding of the writer's own.
    let written =
        writer.report.tiers.iter().filter(|tier| tier.shared).filter_map(|tier| Some((&tier.tier, tier.canary?)));
    written.filter_map(|(tier, version)| gateways::shared(writer, tier, version, reader, seen.get(tier))).collect()
}

/// Prints what was found; the worst of it is the exit code.
fn tell(findings: &[Finding], asked: &[Asked], json: bool) -> anyhow::Result<Ended> {
    let worst = findings.iter().map(|finding| finding.severity).max();
    if json {
        let gateways: Vec<Value> = asked
            .iter()
            .map(|asked| {
                let Report { gateway, version, at, took_seconds, tiers, neighbours, .. } = &asked.report;
                json!({
                    "admin": asked.url, "gateway": gateway, "version": version, "at": at, "took_seconds": took_seconds,
                    "tiers": tiers, "neighbours": neighbours,
                })
            })
            .collect();
        let worst = worst.map_or("fine", Severity::as_str);
        admin::print(&json!({ "worst": worst, "findings": findings, "gateways": gateways }))?;
    } else {
        for finding in findings {
            println!("{finding}");
        }
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let tiers: usize = asked.iter().map(|asked| asked.report.tiers.len()).sum();
        let others = match findings.iter().filter(|finding| finding.code == Code::GatewayNotAsked.as_str()).count() {
            0 => String::new(),
            others => format!(", and {others} known ones did not"),
        };
        println!(
            "{} problems, {} warnings, {} notes; {} gateways answered, with {tiers} tiers{others}",
            count(Severity::Problem),
            count(Severity::Warning),
            count(Severity::Note),
            asked.len()
        );
    }
    Ok(match worst {
        Some(Severity::Problem) => Ended::Failed,
        Some(Severity::Warning) => Ended::NotDone,
        Some(Severity::Note) | None => Ended::Done,
    })
}
